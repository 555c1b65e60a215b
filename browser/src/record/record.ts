// The recorder, with what must never be recorded. rrweb masks texts and inputs where they are read; attributes that hold
// words and the query strings of addresses are masked here, before anything leaves the page.
import { record } from '@rrweb/record';
import type { eventWithTime } from '@rrweb/types';
import { maskEvent } from './mask.ts';

export interface Recorder {
  start(emit: (event: eventWithTime) => void, maskText: boolean): (() => void) | undefined;
}

export const start: Recorder['start'] = (emit, maskText) =>
  record({
    emit: (event) => emit(maskEvent(event, maskText)),
    maskAllInputs: true,
    maskTextSelector: maskText ? '*' : '[data-private],[data-private] *',
    blockSelector: '[data-no-replay],iframe,object,embed,video,audio',
    ignoreSelector: 'input[type=password],[autocomplete^=cc-]',
    recordCanvas: false,
    collectFonts: false,
    inlineImages: false,
    slimDOMOptions: 'all',
    sampling: { mousemove: 100, scroll: 200, media: 800, input: 'last' },
    checkoutEveryNms: 5 * 60 * 1000,
  });
