// The page of one recording: the player's frame, its controls, and the log lines of the session, which go along.
import type { eventWithTime } from '@rrweb/types';
import { isBad, offset, summary, type LogLine } from './lines.ts';
import { listen, type FromPlayer, type ToPlayer } from './messages.ts';

const find = <Kind extends Element>(selector: string): Kind => document.querySelector(selector) as Kind;
const frame = find<HTMLIFrameElement>('#player');
const play = find<HTMLButtonElement>('#play');
const seek = find<HTMLInputElement>('#seek');
const clock = find<HTMLOutputElement>('#clock');
const speed = find<HTMLSelectElement>('#speed');
const list = find<HTMLOListElement>('#lines');
const note = find<HTMLElement>('#note');
const detail = find<HTMLElement>('#detail');
const jobs = find<HTMLElement>('#jobs');

let startedAt = 0;
let totalMs = 0;
let now = 0;
let playing = false;
const rows: { row: HTMLElement; at: number }[] = [];

const tell = (message: ToPlayer): void => frame.contentWindow?.postMessage(message, location.origin);

function setPlaying(value: boolean): void {
  playing = value;
  play.textContent = value ? 'Pause' : 'Play';
}

function goTo(ms: number): void {
  now = Math.max(0, Math.min(ms, totalMs));
  tell(playing ? { kind: 'play', from: now } : { kind: 'pause', at: now });
  show();
}

function show(): void {
  seek.value = String(now);
  clock.value = `${offset(now)} / ${offset(totalMs)}`;
  let current: HTMLElement | undefined;
  for (const { row, at } of rows) {
    row.classList.toggle('past', at <= now);
    if (at <= now && !row.hidden) current = row;
  }
  const before = list.querySelector('.current');
  if (before === current) return;
  before?.classList.remove('current');
  current?.classList.add('current');
  if (playing) current?.scrollIntoView({ block: 'nearest' });
}

function cell(kind: string, text: string): HTMLElement {
  const element = document.createElement('span');
  element.className = kind;
  element.textContent = text;
  return element;
}

function addLine(line: LogLine): void {
  const at = Number(line.time) - startedAt;
  const row = document.createElement('li');
  const button = document.createElement('button');
  button.type = 'button';
  button.append(cell('at', offset(at)), cell(`job ${line.job}`, line.job), cell('text', summary(line)));
  button.addEventListener('click', () => {
    goTo(at);
    const ids = [line.user_id && `user ${line.user_id}`, line.correlation_id && `correlation ${line.correlation_id}`, line.trace_id && `trace ${line.trace_id}`];
    detail.replaceChildren(cell('ids', ids.filter(Boolean).join('   ')), cell('whole', line.line));
    detail.hidden = false;
  });
  row.dataset['job'] = line.job;
  row.classList.toggle('bad', isBad(line));
  row.append(button);
  list.append(row);
  rows.push({ row, at });
}

function offerJobs(): void {
  for (const job of new Set(rows.map(({ row }) => row.dataset['job'] ?? ''))) {
    const label = document.createElement('label');
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.checked = true;
    box.addEventListener('change', () => {
      for (const { row } of rows) if (row.dataset['job'] === job) row.hidden = !box.checked;
    });
    label.append(box, cell(`job ${job}`, job));
    jobs.append(label);
  }
}

async function read<Answer>(path: string): Promise<Answer> {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return (await answer.json()) as Answer;
}

async function loadLines(): Promise<void> {
  const { lines, problem } = await read<{ lines: LogLine[]; problem: string }>('logs');
  lines.forEach(addLine);
  offerJobs();
  note.textContent = problem || (lines.length ? '' : 'No log line carries this session.');
  show();
}

async function loadEvents(): Promise<void> {
  const parts = await read<{ events: eventWithTime[] }[]>('events');
  const events = parts.flatMap((part) => part.events).sort((one, other) => one.timestamp - other.timestamp);
  tell({ kind: 'load', events });
}

const failed = (error: unknown): void => {
  note.textContent = String(error);
};

listen<FromPlayer>(
  () => frame.contentWindow,
  (message) => {
    if (message.kind === 'ready') loadEvents().catch(failed);
    else if (message.kind === 'loaded') {
      ({ startedAt, totalMs } = message);
      seek.max = String(totalMs);
      play.disabled = seek.disabled = false;
      document.body.dataset['state'] = 'loaded';
      loadLines().catch(failed);
    } else if (message.kind === 'time') {
      if (playing) {
        now = Math.min(message.ms, totalMs);
        show();
      }
    } else if (message.kind === 'finished') {
      setPlaying(false);
      document.body.dataset['state'] = 'finished';
    } else failed(message.message);
  },
);

play.addEventListener('click', () => {
  setPlaying(!playing);
  goTo(playing && now >= totalMs ? 0 : now);
});
seek.addEventListener('input', () => goTo(Number(seek.value)));
speed.addEventListener('change', () => tell({ kind: 'speed', factor: Number(speed.value) }));
frame.src = '../player';
