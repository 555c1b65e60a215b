// Session replay: the recorder comes in a file of its own, once the page is at rest, and only for sessions that are recorded.
import type { Recorder } from '../record/record.ts';
import { Queue } from './queue.ts';
import type { Transport } from './transport.ts';

declare const RECORDER_FILE: string;

export function startReplay(base: string, nonce: string, maskText: boolean, transport: Transport): { leave(): void; stop(): void } {
  let stopRecording: (() => void) | undefined;
  let stopped = false;
  const stop = (): void => {
    stopped = true;
    stopRecording?.();
    queue.close();
  };
  const queue = new Queue({
    send: async (body, leaving) => {
      const answer = await transport('replay', body, leaving);
      // Whoever refuses one part (quota, size, switched off) refuses the next one too.
      if (answer === 'refused') stop();
      return answer;
    },
    maxBatch: 50_000,
    maxItem: 900_000,
    maxWaiting: 4_000_000,
    intervalMs: 5_000,
    later: (work, ms) => setTimeout(work, ms),
  });

  const script = document.createElement('script');
  script.src = base + RECORDER_FILE;
  script.async = true;
  script.nonce = nonce;
  script.addEventListener('load', () => {
    const { tovplayRecorder } = window as unknown as { tovplayRecorder?: Recorder };
    if (!stopped) stopRecording = tovplayRecorder?.start((event) => queue.add(event), maskText);
    script.remove();
  });
  const begin = (): void => {
    if (!stopped) document.head.append(script);
  };
  const atRest = (): unknown => ('requestIdleCallback' in window ? requestIdleCallback(begin, { timeout: 2_000 }) : setTimeout(begin, 200));
  if (document.readyState === 'complete') atRest();
  else window.addEventListener('load', atRest, { once: true });

  return { leave: () => void queue.flush(true), stop };
}
