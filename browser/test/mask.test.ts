import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventType, IncrementalSource, type eventWithTime } from '@rrweb/types';
import { maskAttributes, maskEvent } from '../src/record/mask.ts';

test('words in attributes are masked, query strings are gone, the rest stays', () => {
  const attributes = { href: '/reset?code=1#x', title: 'Eve', value: 'typed', class: 'big', src: 'data:image/png;base64,AA?', srcset: 'a?b 2x', rr_width: 5 };
  assert.deepEqual(maskAttributes(attributes, true), {
    href: '/reset', title: '***', value: '*****', class: 'big', src: 'data:image/png;base64,AA?', srcset: '', rr_width: 5,
  });
  assert.equal(maskAttributes(attributes, false)['title'], 'Eve');
  assert.equal(maskAttributes(attributes, false)['value'], '*****', 'what is typed is never plain');
});

const node = (attributes: object) => ({ type: 2, id: 1, tagName: 'a', attributes, childNodes: [{ type: 2, id: 2, tagName: 'b', attributes, childNodes: [] }] });

test('every kind of event that carries attributes is masked, however deep', () => {
  const secret = { title: 'Eve', href: '/a?token=x' };
  const events = [
    { type: EventType.Meta, timestamp: 1, data: { href: 'https://app/a?token=x', width: 1, height: 1 } },
    { type: EventType.FullSnapshot, timestamp: 1, data: { node: node(secret), initialOffset: { left: 0, top: 0 } } },
    {
      type: EventType.IncrementalSnapshot,
      timestamp: 1,
      data: {
        source: IncrementalSource.Mutation,
        texts: [],
        removes: [],
        adds: [{ parentId: 1, nextId: null, node: node(secret) }],
        attributes: [{ id: 1, attributes: secret }],
      },
    },
  ] as unknown as eventWithTime[];
  const told = JSON.stringify(events.map((event) => maskEvent(event, true)));
  assert.ok(!told.includes('Eve') && !told.includes('token'), told);
  assert.ok(JSON.stringify(events).includes('token'), 'the page’s own objects are left alone');
});
