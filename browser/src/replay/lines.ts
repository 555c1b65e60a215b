// A log line in few words. Lines are text of strangers: whatever comes out of here is shown as text, never as markup.
export interface LogLine {
  time: string;
  job: string;
  level: string;
  action: string;
  user_id: string;
  correlation_id: string;
  trace_id: string;
  http_status: string;
  statement: string;
  line: string;
}

export function summary({ line, job, statement }: LogLine): string {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  if (!fields || typeof fields !== 'object') return line;
  const text = (...names: string[]): string =>
    names.map((name) => fields[name]).filter((value) => typeof value === 'string' || typeof value === 'number').join(' ');
  if (job === 'nginx') return text('method', 'path', 'http_status');
  if (statement) return statement;
  return text('action', 'message') || line;
}

export function isBad({ level, http_status }: LogLine): boolean {
  return /^(error|critical|fatal|panic)$/i.test(level) || Number(http_status) >= 500;
}

/** `-0:03` or `12:34`: minutes and seconds from the beginning of the recording. */
export function offset(ms: number): string {
  const seconds = Math.floor(Math.abs(ms) / 1000);
  return `${ms < 0 ? '-' : ''}${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
