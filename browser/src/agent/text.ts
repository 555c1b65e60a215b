// What leaves the page as text: bounded, without query strings and addresses, and masked where people may have written it.

export const cut = (text: string, length: number): string => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

export const mask = (text: string): string => text.replace(/[\p{L}\p{N}]/gu, '*');

/** Takes out what error messages and stacks repeat of others' data: query strings, fragments and e-mail addresses. */
export const redact = (text: string): string =>
  text
    .replace(/[?#][^\s'")]+/g, (query) => /(?::\d+){1,2}$/.exec(query)?.[0] ?? '')
    .replace(/[^\s@'"<(]{1,64}@[^\s@'">)]{1,255}/g, '[email]');

/** `button#save` or `input[name=email]`: what was clicked, never what is written on it. */
export function describe(element: Element): string {
  const name = element.getAttribute('name');
  return cut(element.localName + (element.id ? `#${element.id}` : name ? `[name=${name}]` : ''), 100);
}

export function label(element: Element, masked: boolean): string {
  const text = cut((element.textContent ?? '').trim().replace(/\s+/g, ' '), 80);
  return masked ? mask(text) : text;
}
