// Texts on their way to the ingest service: collected, sent in batches, one at a time, again after a failure. A batch
// keeps its id, so that the service knows one that comes twice. What cannot be kept is counted and told.
import { randomHex } from './ids.ts';

export type Answer = 'done' | 'again' | 'refused';

export interface QueueOptions {
  /** Sends a batch; `leaving` when the page is about to go. */
  readonly send: (body: string, leaving: boolean) => Promise<Answer>;
  /** Characters of a batch; one item may be longer, up to maxItem, and then travels alone. */
  readonly maxBatch: number;
  readonly maxItem: number;
  /** Characters that may wait altogether. */
  readonly maxWaiting: number;
  readonly intervalMs: number;
  readonly later: (work: () => void, ms: number) => unknown;
}

const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 60_000;

export class Queue {
  #items: string[] = [];
  #waiting = 0;
  #dropped = 0;
  #batch: { body: string; size: number } | undefined;
  #sending = false;
  #timer = false;
  #retryMs = FIRST_RETRY_MS;
  #closed = false;
  readonly #options: QueueOptions;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  add(item: unknown): void {
    if (this.#closed) return;
    // Half a surrogate pair, as pages may hold it, is no Unicode; JSON.stringify writes it as an escape.
    const text = JSON.stringify(item).replace(/\\ud[89a-f][0-9a-f]{2}/g, '\\ufffd');
    if (text.length > this.#options.maxItem || this.#waiting + text.length > this.#options.maxWaiting) {
      this.#dropped += 1;
      return;
    }
    this.#items.push(text);
    this.#waiting += text.length;
    if (this.#waiting >= this.#options.maxBatch) void this.flush();
    else this.#wake(this.#options.intervalMs);
  }

  /** Sends what waits; with `leaving` all of it at once, since nobody will be there for a second try. */
  async flush(leaving = false): Promise<void> {
    if (this.#closed || (this.#sending && !leaving)) return;
    if (leaving) {
      while (this.#items.length) void this.#options.send(this.#take().body, true);
      return;
    }
    this.#batch ??= this.#items.length ? this.#take() : undefined;
    if (!this.#batch) return;
    this.#sending = true;
    const answer = await this.#options.send(this.#batch.body, false).catch(() => 'again' as const);
    this.#sending = false;
    if (answer === 'again') {
      this.#wake(this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
      return;
    }
    this.#waiting -= this.#batch.size;
    this.#batch = undefined;
    this.#retryMs = FIRST_RETRY_MS;
    if (this.#waiting >= this.#options.maxBatch) return this.flush();
    if (this.#items.length) this.#wake(this.#options.intervalMs);
  }

  close(): void {
    this.#closed = true;
    this.#items = [];
    this.#batch = undefined;
  }

  #take(): { body: string; size: number } {
    let count = 0;
    let size = 0;
    for (const item of this.#items) {
      if (count && size + item.length > this.#options.maxBatch) break;
      size += item.length;
      count += 1;
    }
    const events = this.#items.splice(0, count);
    const body = `{"batch":"${randomHex(32)}","dropped":${this.#dropped},"events":[${events.join(',')}]}`;
    this.#dropped = 0;
    return { body, size };
  }

  #wake(ms: number): void {
    if (this.#timer) return;
    this.#timer = true;
    this.#options.later(() => {
      this.#timer = false;
      void this.flush();
    }, ms);
  }
}
