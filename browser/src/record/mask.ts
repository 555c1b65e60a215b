// Pure: an event of rrweb without words in attributes and without query strings.
import { EventType, IncrementalSource, type eventWithTime } from '@rrweb/types';
import { mask } from '../agent/text.ts';

const WORDS = new Set(['title', 'alt', 'placeholder', 'aria-label', 'aria-description', 'content', 'label', 'srcdoc', 'value']);
const ADDRESSES = new Set(['href', 'src', 'action', 'formaction', 'poster', 'cite', 'data']);

type Attributes = Record<string, unknown>;
interface Node {
  attributes?: Attributes;
  childNodes?: Node[];
}

export const withoutQuery = (address: string): string => (address.startsWith('data:') ? address : address.replace(/[?#].*$/s, ''));

export function maskAttributes(attributes: Attributes, maskText: boolean): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => {
      if (typeof value !== 'string') return [name, value];
      if (ADDRESSES.has(name)) return [name, withoutQuery(value)];
      if (name === 'srcset') return [name, ''];
      return [name, WORDS.has(name) && (maskText || name === 'value') ? mask(value) : value];
    }),
  );
}

function maskNode<T>(node: T, maskText: boolean): T {
  const { attributes, childNodes } = node as Node;
  return {
    ...node,
    ...(attributes ? { attributes: maskAttributes(attributes, maskText) } : {}),
    ...(childNodes ? { childNodes: childNodes.map((child) => maskNode(child, maskText)) } : {}),
  };
}

export function maskEvent(event: eventWithTime, maskText: boolean): eventWithTime {
  if (event.type === EventType.Meta) return { ...event, data: { ...event.data, href: withoutQuery(event.data.href) } };
  if (event.type === EventType.FullSnapshot) return { ...event, data: { ...event.data, node: maskNode(event.data.node, maskText) } };
  if (event.type === EventType.IncrementalSnapshot && event.data.source === IncrementalSource.Mutation) {
    const { adds, attributes } = event.data;
    return {
      ...event,
      data: {
        ...event.data,
        adds: adds.map((add) => ({ ...add, node: maskNode(add.node, maskText) })),
        attributes: attributes.map((change) => ({
          ...change,
          attributes: maskAttributes(change.attributes, maskText) as typeof change.attributes,
        })),
      },
    };
  }
  return event;
}
