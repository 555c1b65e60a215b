// Ids as the platform spells them: lower-case hex, as in W3C Trace Context and docs/fields.md.

export function randomHex(digits: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(digits / 2));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export const isId = (text: string | null | undefined): text is string => /^[0-9a-f]{32}$/.test(text ?? '');

/** Whether a session belongs to the sampled share (0 to 1): the same answer on every page, without storing it. */
export const isSampled = (session: string, share: number): boolean => parseInt(session.slice(0, 8), 16) / 2 ** 32 < share;
