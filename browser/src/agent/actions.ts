// One action of a person (a click, a submitted form, a page) has one correlation id and one trace; the requests that
// follow from it carry both. A browser cannot tell what caused a request, so the rule is time: a request belongs to the
// latest action while that is busy, or has been quiet for less than QUIET_MS, and to none after LONGEST_MS.
import { randomHex } from './ids.ts';

const QUIET_MS = 1_000;
const LONGEST_MS = 10_000;

export interface Action {
  readonly correlationId: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly startedAt: number;
}

export class Actions {
  #current: Action | undefined;
  #pending = 0;
  #quietSince = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  begin(known: Partial<Action> = {}): Action {
    this.#current = this.#make(known);
    this.#pending = 0;
    this.#quietSince = this.#current.startedAt;
    return this.#current;
  }

  /** The action that a request starting now belongs to: the current one, or one of its own. */
  ofRequest(): Action {
    const current = this.latest();
    if (!current) return this.#make({});
    this.#pending += 1;
    return current;
  }

  finished(action: Action): void {
    if (action !== this.#current) return;
    this.#pending = Math.max(0, this.#pending - 1);
    this.#quietSince = this.#now();
  }

  /** The current action, unless it is over. */
  latest(): Action | undefined {
    if (!this.#current) return undefined;
    const now = this.#now();
    const over = (this.#pending === 0 && now - this.#quietSince > QUIET_MS) || now - this.#current.startedAt > LONGEST_MS;
    return over ? undefined : this.#current;
  }

  #make(known: Partial<Action>): Action {
    return { correlationId: randomHex(32), traceId: randomHex(32), spanId: randomHex(16), startedAt: this.#now(), ...known };
  }
}
