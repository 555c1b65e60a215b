// One event as the ingest service takes it; the names are those of docs/fields.md.
export interface BrowserEvent {
  timestamp: string;
  action: 'CLICK' | 'SUBMIT' | 'NAVIGATION' | 'REQUEST' | 'ERROR' | 'UNHANDLED_REJECTION';
  level: 'info' | 'warning' | 'error';
  message: string;
  path: string;
  correlation_id?: string | undefined;
  trace_id?: string | undefined;
  span_id?: string | undefined;
  parent_span_id?: string | undefined;
  method?: string;
  http_status?: number;
  request_duration_ms?: number;
  error_type?: string;
  stack?: string;
}

export type Report = (event: Omit<BrowserEvent, 'timestamp' | 'path'> & { path?: string; at?: number }) => void;
