// What nginx wrote into our script element: the site's choices, and the ids of the page's own request.
import { isId } from './ids.ts';

export interface Settings {
  /** Folder of the ingest service on this origin. */
  readonly base: string;
  readonly nonce: string;
  readonly pageCorrelationId: string | undefined;
  readonly pageTraceparent: string | undefined;
  /** Shares of the sessions, 0 to 1. */
  readonly sample: number;
  readonly replay: number;
  readonly consentRequired: boolean;
  /** Whether all text is masked, not only what people typed. */
  readonly maskText: boolean;
}

export function readSettings(script: HTMLScriptElement): Settings {
  const { page, traceparent, sample, replay, consent, text } = script.dataset;
  return {
    base: new URL('.', script.src).href,
    nonce: script.nonce ?? '',
    pageCorrelationId: isId(page) ? page : undefined,
    pageTraceparent: traceparent,
    sample: share(sample, 1),
    replay: share(replay, 0),
    consentRequired: consent !== 'implied',
    maskText: text !== 'plain',
  };
}

function share(text: string | undefined, otherwise: number): number {
  const value = Number(text ?? otherwise);
  return value >= 0 && value <= 1 ? value : otherwise;
}
