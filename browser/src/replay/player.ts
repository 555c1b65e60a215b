// The player's frame: rrweb rebuilds the page in a frame of its own, in which no script runs; the content security policy
// of this document, which that frame inherits, lets nothing be loaded.
import { Replayer } from '@rrweb/replay';
import { listen, type FromPlayer, type ToPlayer } from './messages.ts';

const stage = document.getElementById('stage') as HTMLElement;
const tell = (message: FromPlayer): void => parent.postMessage(message, location.origin);
let replayer: Replayer | undefined;

function fit(size: { width: number; height: number }): void {
  const factor = Math.min(innerWidth / size.width, innerHeight / size.height, 1);
  stage.style.transform = `scale(${factor})`;
  stage.style.left = `${(innerWidth - size.width * factor) / 2}px`;
}

function load(events: Extract<ToPlayer, { kind: 'load' }>['events']): void {
  let size = { width: innerWidth, height: innerHeight };
  replayer = new Replayer(events, { root: stage, showWarning: false, skipInactive: false, mouseTail: { strokeStyle: '#e0503a' } });
  replayer.on('resize', (next) => fit((size = next as typeof size)));
  replayer.on('finish', () => tell({ kind: 'finished' }));
  addEventListener('resize', () => fit(size));
  const { startTime, totalTime } = replayer.getMetaData();
  tell({ kind: 'loaded', startedAt: startTime, totalMs: totalTime });
  replayer.pause(0);
  const tick = (): void => {
    if (replayer) tell({ kind: 'time', ms: replayer.getCurrentTime() });
    requestAnimationFrame(tick);
  };
  tick();
}

listen<ToPlayer>(
  () => parent,
  (message) => {
    try {
      if (message.kind === 'load') load(message.events);
      else if (message.kind === 'play') replayer?.play(message.from);
      else if (message.kind === 'pause') replayer?.pause(message.at);
      else replayer?.setConfig({ speed: message.factor });
    } catch (error) {
      tell({ kind: 'failed', message: String(error) });
    }
  },
);
tell({ kind: 'ready' });
