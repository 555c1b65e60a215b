// What the page and the player's frame tell each other.
import type { eventWithTime } from '@rrweb/types';

export type ToPlayer =
  | { kind: 'load'; events: eventWithTime[] }
  | { kind: 'play'; from: number }
  | { kind: 'pause'; at?: number }
  | { kind: 'speed'; factor: number };

export type FromPlayer =
  | { kind: 'ready' }
  | { kind: 'loaded'; startedAt: number; totalMs: number }
  | { kind: 'time'; ms: number }
  | { kind: 'finished' }
  | { kind: 'failed'; message: string };

export function listen<Message>(from: () => Window | null, take: (message: Message) => void): void {
  addEventListener('message', (event) => {
    if (event.origin === location.origin && event.source === from()) take(event.data as Message);
  });
}
