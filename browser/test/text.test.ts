import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cut, mask, redact } from '../src/agent/text.ts';
import { isBad, offset, summary, type LogLine } from '../src/replay/lines.ts';

test('masked text keeps its shape and none of its letters or digits', () => {
  assert.equal(mask('Delete Zoë (42)!'), '****** *** (**)!');
  assert.equal(mask('日本 Ж'), '** *');
});

test('errors tell neither query strings nor addresses of people', () => {
  const rows: [string, string][] = [
    ['at f (https://app/x.js?token=abc:10:5)', 'at f (https://app/x.js:10:5)'],
    ['at https://app/x.js:10:5', 'at https://app/x.js:10:5'],
    ['Failed https://app/reset?code=1#frag now', 'Failed https://app/reset now'],
    ['no user eve@example.com here', 'no user [email] here'],
    ['nothing to hide', 'nothing to hide'],
  ];
  for (const [said, told] of rows) assert.equal(redact(said), told);
});

test('redacting a long hostile message is quick', () => {
  const started = performance.now();
  for (const part of ['a@', 'https://a?', '://', '@.']) redact(part.repeat(20_000));
  assert.ok(performance.now() - started < 2_000, String(performance.now() - started));
});

test('cut text says that it was cut', () => assert.equal(cut('abcdef', 4), 'abc…'));

test('a log line in few words', () => {
  const line = (job: string, text: string, more: Partial<LogLine> = {}): LogLine => ({
    time: '0', level: '', action: '', user_id: '', correlation_id: '', trace_id: '', http_status: '', statement: '', job, line: text, ...more,
  });
  assert.equal(summary(line('nginx', '{"method":"DELETE","path":"/api/x","http_status":200}')), 'DELETE /api/x 200');
  assert.equal(summary(line('frontend', '{"action":"CLICK","message":"button#a"}')), 'CLICK button#a');
  assert.equal(summary(line('postgres', '{"message":"x"}', { statement: 'DELETE FROM a' })), 'DELETE FROM a');
  for (const odd of ['not json', '[1]', 'null', '"text"', '{"message":{"a":1}}']) assert.equal(summary(line('flask-api', odd)), odd);
  assert.deepEqual([isBad(line('a', '', { level: 'ERROR' })), isBad(line('a', '', { http_status: '502' })), isBad(line('a', ''))], [true, true, false]);
  assert.deepEqual([offset(0), offset(61_500), offset(-3_200)], ['0:00', '1:01', '-0:03']);
});
