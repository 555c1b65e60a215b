import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Queue, type Answer } from '../src/agent/queue.ts';

interface Sent {
  batch: string;
  dropped: number;
  events: unknown[];
}

function made(answers: (Answer | Error)[], limits: Partial<{ maxBatch: number; maxItem: number; maxWaiting: number }> = {}) {
  const sent: Sent[] = [];
  const timers: { work: () => void; ms: number }[] = [];
  const queue = new Queue({
    send: async (body) => {
      sent.push(JSON.parse(body) as Sent);
      const answer = answers.shift() ?? 'done';
      if (answer instanceof Error) throw answer;
      return answer;
    },
    maxBatch: 100,
    maxItem: 100,
    maxWaiting: 300,
    intervalMs: 3_000,
    later: (work, ms) => timers.push({ work, ms }),
    ...limits,
  });
  const fire = async (): Promise<number | undefined> => {
    const timer = timers.shift();
    timer?.work();
    await new Promise(setImmediate);
    return timer?.ms;
  };
  return { queue, sent, timers, fire };
}

test('events wait for each other and travel together, in order', async () => {
  const { queue, sent, fire } = made([]);
  for (const number of [1, 2, 3]) queue.add(number);
  assert.equal(sent.length, 0);
  assert.equal(await fire(), 3_000);
  assert.deepEqual(sent.map(({ events }) => events), [[1, 2, 3]]);
  assert.match(sent[0]!.batch, /^[0-9a-f]{32}$/);
});

test('a batch that failed comes again under the same id, ever more slowly, and nothing is lost', async () => {
  const { queue, sent, fire } = made(['again', new Error('offline'), 'again', 'done']);
  queue.add('a');
  const waits = [await fire(), await fire(), await fire()];
  queue.add('b');
  waits.push(await fire(), await fire());
  assert.deepEqual(waits, [3_000, 2_000, 4_000, 8_000, 3_000]);
  assert.deepEqual(sent.map(({ events }) => events), [['a'], ['a'], ['a'], ['a'], ['b']]);
  assert.equal(new Set(sent.map(({ batch }) => batch)).size, 2);
});

test('what is refused is not sent again', async () => {
  const { queue, sent, fire, timers } = made(['refused']);
  queue.add('a');
  await fire();
  assert.equal(timers.length, 0);
  queue.add('b');
  await fire();
  assert.deepEqual(sent.map(({ events }) => events), [['a'], ['b']]);
});

test('what does not fit is counted, and the count is told once', async () => {
  const { queue, sent, fire } = made([], { maxBatch: 1_000, maxItem: 10, maxWaiting: 20 });
  queue.add('x'.repeat(50)); // too large
  for (const text of ['12345678', '12345678', '12345678']) queue.add(text); // the third has no room
  await fire();
  queue.add('later');
  await fire();
  assert.deepEqual(sent.map(({ dropped, events }) => [dropped, events.length]), [[2, 2], [0, 1]]);
});

test('a full batch goes at once; several go one after the other', async () => {
  const { queue, sent } = made([], { maxBatch: 20 });
  for (let number = 1; number <= 6; number += 1) queue.add('1234567');
  await new Promise(setImmediate);
  assert.deepEqual(sent.map(({ events }) => events.length), [2, 2]);
});

test('a page that leaves sends everything, also beside a batch on its way', async () => {
  const { queue, sent } = made([], { maxBatch: 20 });
  for (const text of ['1', '2', '3']) queue.add(text.repeat(10));
  await queue.flush(true);
  assert.deepEqual(sent.flatMap(({ events }) => events), ['1111111111', '2222222222', '3333333333']);
});

test('a closed queue takes and sends nothing', async () => {
  const { queue, sent, fire } = made([]);
  queue.add('a');
  queue.close();
  queue.add('b');
  await fire();
  await queue.flush(true);
  assert.deepEqual(sent, []);
});

test('half of a surrogate pair becomes the replacement character, a whole pair stays', async () => {
  const { queue, sent, fire } = made([]);
  queue.add('\ud800 👍');
  await fire();
  assert.deepEqual(sent[0]!.events, ['\ufffd 👍']);
});
