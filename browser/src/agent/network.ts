// Requests of the page to its own origin carry the action's ids, and are reported. A page never notices: whatever goes
// wrong in here, the request is made as it was asked for.
import type { Action, Actions } from './actions.ts';
import type { Report } from './events.ts';
import { randomHex } from './ids.ts';

interface Call {
  readonly action: Action;
  readonly spanId: string;
  readonly method: string;
  readonly path: string;
  readonly startedAt: number;
}

export function watchNetwork(window: Window & typeof globalThis, base: string, session: string, actions: Actions, report: Report): () => void {
  const begin = (method: string, address: string): Call | undefined => {
    const url = new URL(address, window.document.baseURI);
    if (url.origin !== window.location.origin || url.href.startsWith(base)) return undefined;
    return { action: actions.ofRequest(), spanId: randomHex(16), method: method.toUpperCase(), path: url.pathname, startedAt: Date.now() };
  };

  const headersOf = (call: Call): [string, string][] => [
    ['X-Correlation-ID', call.action.correlationId],
    ['traceparent', `00-${call.action.traceId}-${call.spanId}-01`],
    ['X-Browser-Session-Id', session],
  ];

  const end = (call: Call, status: number, problem?: string): void => {
    actions.finished(call.action);
    report({
      action: 'REQUEST',
      level: problem || status >= 500 ? 'error' : status >= 400 ? 'warning' : 'info',
      message: `${call.method} ${call.path} ${problem ?? status}`,
      at: call.startedAt,
      method: call.method,
      path: call.path,
      request_duration_ms: Date.now() - call.startedAt,
      correlation_id: call.action.correlationId,
      trace_id: call.action.traceId,
      span_id: call.spanId,
      parent_span_id: call.action.spanId,
      ...(status ? { http_status: status } : {}),
      ...(problem ? { error_type: problem } : {}),
    });
  };

  const { fetch } = window;
  const { open, send } = window.XMLHttpRequest.prototype;
  const opened = new WeakMap<XMLHttpRequest, { method: string; address: string }>();

  window.fetch = function (this: unknown, input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    let call: Call | undefined;
    let options = init;
    try {
      const request = input instanceof Request ? input : undefined;
      call = begin(init?.method ?? request?.method ?? 'GET', request?.url ?? String(input));
      if (call) {
        const headers = new Headers(init?.headers ?? request?.headers);
        for (const [name, value] of headersOf(call)) if (!headers.has(name)) headers.set(name, value);
        options = { ...init, headers };
      }
    } catch {
      options = init;
    }
    const answer = fetch.call(window, input, options);
    if (call) {
      const made = call;
      answer.then(
        (response) => end(made, response.status),
        (error: unknown) => end(made, 0, error instanceof Error ? error.name : 'Error'),
      );
    }
    return answer;
  };

  window.XMLHttpRequest.prototype.open = function (this: XMLHttpRequest, method: string, address: string | URL, ...rest: unknown[]) {
    opened.set(this, { method, address: String(address) });
    return (open as (...all: unknown[]) => void).call(this, method, address, ...rest);
  } as typeof open;

  window.XMLHttpRequest.prototype.send = function (this: XMLHttpRequest, body?: Document | XMLHttpRequestBodyInit | null) {
    try {
      const known = opened.get(this);
      const call = known && begin(known.method, known.address);
      if (call) {
        for (const [name, value] of headersOf(call)) this.setRequestHeader(name, value);
        this.addEventListener('loadend', () => end(call, this.status, this.status ? undefined : 'NetworkError'), { once: true });
      }
    } catch {
      // The page's request matters more than our headers.
    }
    return send.call(this, body);
  };

  return () => {
    window.fetch = fetch;
    Object.assign(window.XMLHttpRequest.prototype, { open, send });
  };
}
