// The way to the ingest service. Bodies are text/plain: a beacon may carry nothing else without asking first.
import type { Answer } from './queue.ts';

export type Transport = (kind: 'events' | 'replay', body: string, leaving: boolean) => Promise<Answer>;

// Browsers give all beacons and keepalive requests of a page 64 KiB together (Fetch standard, "inflight keepalive bytes").
const KEEPALIVE_BYTES = 60_000;

export function makeTransport(base: string, session: string, fetch: typeof globalThis.fetch): Transport {
  return async (kind, body, leaving) => {
    const url = `${base}${kind}?session=${session}`;
    const blob = new Blob([body], { type: 'text/plain' });
    if (leaving && navigator.sendBeacon(url, blob)) return 'done';
    const answer = await fetch(url, {
      method: 'POST',
      body: blob,
      keepalive: blob.size < KEEPALIVE_BYTES,
      credentials: 'omit',
      redirect: 'error',
    });
    if (answer.ok) return 'done';
    return answer.status === 429 || (answer.status >= 500 && answer.status !== 507) ? 'again' : 'refused';
  };
}
