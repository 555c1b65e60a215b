// What happens on the page: clicks, submitted forms, navigation, errors.
import type { Actions } from './actions.ts';
import type { Report } from './events.ts';
import { cut, describe, label, redact } from './text.ts';

const INTERACTIVE = 'a,button,input,select,textarea,label,summary,[role=button],[role=link],[role=menuitem],[role=tab],[onclick]';
const ERRORS_A_MINUTE = 30;
const SUBMIT_FOLLOWS_CLICK_MS = 500;

export function watchPage(window: Window, actions: Actions, maskText: boolean, report: Report): () => void {
  const { document, history } = window;
  const stop = new AbortController();
  const listen = (target: EventTarget, name: string, handler: (event: never) => void): void =>
    target.addEventListener(name, handler as (event: Event) => void, { capture: true, passive: true, signal: stop.signal });
  const ids = (action = actions.latest()) => ({
    correlation_id: action?.correlationId,
    trace_id: action?.traceId,
    span_id: action?.spanId,
  });

  listen(document, 'click', (event: MouseEvent) => {
    const target = event.composedPath()[0];
    if (!event.isTrusted || !(target instanceof Element)) return;
    const element = target.closest(INTERACTIVE) ?? target;
    const text = label(element, maskText);
    report({ action: 'CLICK', level: 'info', message: describe(element) + (text ? ` "${text}"` : ''), ...ids(actions.begin()) });
  });

  listen(document, 'submit', (event: SubmitEvent) => {
    if (!(event.target instanceof Element)) return;
    const latest = actions.latest();
    const same = latest && Date.now() - latest.startedAt < SUBMIT_FOLLOWS_CLICK_MS;
    report({ action: 'SUBMIT', level: 'info', message: describe(event.target), ...ids(same ? latest : actions.begin()) });
  });

  let errors = 0;
  const limit = setInterval(() => (errors = 0), 60_000);
  const failed = (action: 'ERROR' | 'UNHANDLED_REJECTION', what: unknown, otherwise: string): void => {
    errors += 1;
    if (errors > ERRORS_A_MINUTE) return;
    const error = what instanceof Error ? what : undefined;
    report({
      action,
      level: 'error',
      message: redact(cut(error?.message ?? (typeof what === 'string' ? what : otherwise), 1000)),
      error_type: cut(error?.name ?? typeof what, 100),
      ...(error?.stack ? { stack: redact(cut(error.stack, 4000)) } : {}),
      ...ids(),
    });
  };
  listen(window, 'error', (event: ErrorEvent) => {
    // A picture or script that does not load is an event of its element, and has no message.
    if (event instanceof ErrorEvent) failed('ERROR', event.error ?? event.message, event.message);
  });
  listen(window, 'unhandledrejection', (event: PromiseRejectionEvent) =>
    failed('UNHANDLED_REJECTION', event.reason, 'rejected with something that is no error'),
  );

  let path = window.location.pathname;
  const navigated = (): void => {
    if (window.location.pathname === path) return;
    path = window.location.pathname;
    report({ action: 'NAVIGATION', level: 'info', message: `to ${path}`, ...ids() });
  };
  const { pushState, replaceState } = history;
  const wrap = (original: History['pushState']): History['pushState'] =>
    function (this: History, ...all) {
      original.apply(this, all);
      navigated();
    };
  history.pushState = wrap(pushState);
  history.replaceState = wrap(replaceState);
  listen(window, 'popstate', navigated);

  return () => {
    stop.abort();
    clearInterval(limit);
    Object.assign(history, { pushState, replaceState });
  };
}
