// The browser agent: one script, injected by nginx, that reports what happens on a page and gives its requests the ids
// with which a click is found again in every log. Nothing happens before consent where that is required.
import { Actions } from './actions.ts';
import type { BrowserEvent, Report } from './events.ts';
import { isId, isSampled, randomHex } from './ids.ts';
import { watchNetwork } from './network.ts';
import { watchPage } from './page.ts';
import { Queue } from './queue.ts';
import { startReplay } from './replay.ts';
import { readSettings, type Settings } from './settings.ts';
import { cut } from './text.ts';
import { makeTransport } from './transport.ts';

const SESSION = 'tovplay.session';
const CONSENT = 'tovplay.consent';

interface Choice {
  readonly events: boolean;
  readonly replay: boolean;
}

declare global {
  interface Window {
    /** The hook for the site's consent dialogue; the choice holds for this tab. */
    tovplayBrowser?: { consent(choice: boolean | Choice): void; session(): string | undefined };
  }
}

function sessionId(): string {
  const known = sessionStorage.getItem(SESSION);
  const session = isId(known) ? known : randomHex(32);
  sessionStorage.setItem(SESSION, session);
  return session;
}

function start(settings: Settings, choice: Choice): () => void {
  const session = sessionId();
  if (!isSampled(session, settings.sample)) return () => undefined;
  const transport = makeTransport(settings.base, session, window.fetch.bind(window));
  const queue = new Queue({
    send: (body, leaving) => transport('events', body, leaving),
    maxBatch: 15_000, // 64 KiB of the longest UTF-8 is what a beacon may carry
    maxItem: 15_000,
    maxWaiting: 300_000,
    intervalMs: 3_000,
    later: (work, ms) => setTimeout(work, ms),
  });
  const report: Report = ({ at, ...event }) => {
    const whole: BrowserEvent = { timestamp: new Date(at ?? Date.now()).toISOString(), path: location.pathname, ...event };
    queue.add({ ...whole, path: cut(whole.path, 1000), message: cut(whole.message, 1200) });
  };

  const actions = new Actions(Date.now);
  const [, traceId, spanId] = settings.pageTraceparent?.split('-') ?? [];
  const page = actions.begin({
    ...(settings.pageCorrelationId ? { correlationId: settings.pageCorrelationId } : {}),
    ...(traceId && spanId ? { traceId, spanId } : {}),
  });
  const stops = [
    watchNetwork(window, settings.base, session, actions, report),
    watchPage(window, actions, settings.maskText, report),
  ];
  report({
    action: 'NAVIGATION',
    level: 'info',
    message: `page ${location.pathname}`,
    correlation_id: page.correlationId,
    trace_id: page.traceId,
    span_id: page.spanId,
  });

  // Global Privacy Control asks not to be observed in detail; an explicit consent outranks it.
  const objects = !settings.consentRequired && (navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl === true;
  const replay =
    choice.replay && !objects && isSampled(session, settings.sample * settings.replay)
      ? startReplay(settings.base, settings.nonce, settings.maskText, transport)
      : undefined;

  const leaving = (): void => {
    if (document.visibilityState !== 'hidden') return;
    void queue.flush(true);
    replay?.leave();
  };
  document.addEventListener('visibilitychange', leaving);
  return () => {
    for (const stop of stops) stop();
    document.removeEventListener('visibilitychange', leaving);
    replay?.stop();
    queue.close();
    sessionStorage.removeItem(SESSION);
  };
}

function main(script: HTMLScriptElement): void {
  const settings = readSettings(script);
  let stop: (() => void) | undefined;
  const decide = (choice: Choice): void => {
    stop?.();
    stop = choice.events ? start(settings, choice) : undefined;
  };
  window.tovplayBrowser = {
    consent(choice) {
      const made = typeof choice === 'boolean' ? { events: choice, replay: choice } : choice;
      sessionStorage.setItem(CONSENT, JSON.stringify(made));
      decide(made);
    },
    session: () => (stop ? (sessionStorage.getItem(SESSION) ?? undefined) : undefined),
  };
  const stored = sessionStorage.getItem(CONSENT);
  decide(stored ? (JSON.parse(stored) as Choice) : { events: !settings.consentRequired, replay: !settings.consentRequired });
}

// A second copy on one page, or a browser that keeps no storage, is no reason to disturb the page.
try {
  if (document.currentScript instanceof HTMLScriptElement && !window.tovplayBrowser) main(document.currentScript);
} catch (error) {
  console.debug('tovplay: not observing this page', error);
}
