import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Actions } from '../src/agent/actions.ts';
import { isId, isSampled, randomHex } from '../src/agent/ids.ts';

function clocked(): { actions: Actions; pass(ms: number): void } {
  let now = 1_000;
  return { actions: new Actions(() => now), pass: (ms) => void (now += ms) };
}

test('ids are lower-case hex of the wanted length, and never twice the same', () => {
  const made = Array.from({ length: 1000 }, () => randomHex(32));
  assert.ok(made.every(isId));
  assert.equal(new Set(made).size, 1000);
  assert.match(randomHex(16), /^[0-9a-f]{16}$/);
  for (const odd of ['', 'A'.repeat(32), 'g'.repeat(32), '0'.repeat(31), `${'0'.repeat(32)}\n`, null]) assert.equal(isId(odd), false);
});

test('a session is in the sample or not, by its id alone', () => {
  const sessions = Array.from({ length: 20_000 }, () => randomHex(32));
  const share = sessions.filter((session) => isSampled(session, 0.25)).length / sessions.length;
  assert.ok(share > 0.23 && share < 0.27, String(share));
  assert.ok(sessions.every((session) => isSampled(session, 1) && !isSampled(session, 0)));
});

test('requests that follow a click carry its id', () => {
  const { actions, pass } = clocked();
  const click = actions.begin();
  pass(300);
  assert.equal(actions.ofRequest(), click);
  pass(5_000); // a slow answer keeps the action alive
  assert.equal(actions.ofRequest(), click);
  actions.finished(click);
  actions.finished(click);
  pass(900);
  assert.equal(actions.ofRequest(), click, 'the request after the answer');
});

test('a request of a timer, long after the click, is not the click’s', () => {
  const { actions, pass } = clocked();
  const click = actions.begin();
  pass(1_100);
  const own = actions.ofRequest();
  assert.notEqual(own.correlationId, click.correlationId);
  assert.notEqual(own.traceId, click.traceId);
  assert.notEqual(actions.ofRequest().correlationId, own.correlationId, 'each has its own');
});

test('polling does not keep an action alive for ever', () => {
  const { actions, pass } = clocked();
  const click = actions.begin();
  for (let second = 0; second < 20; second += 1) {
    actions.finished(actions.ofRequest());
    pass(700);
  }
  assert.notEqual(actions.ofRequest(), click);
});

test('the next click is another action, whatever is still on its way', () => {
  const { actions } = clocked();
  const first = actions.begin();
  actions.ofRequest();
  const second = actions.begin();
  actions.finished(first);
  assert.equal(actions.ofRequest(), second);
});

test('a page’s own ids are taken over', () => {
  const { actions } = clocked();
  assert.equal(actions.begin({ correlationId: 'f'.repeat(32) }).correlationId, 'f'.repeat(32));
});
