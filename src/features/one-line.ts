/** For lines of a terminal out of names and messages that come from elsewhere: whatever they hold must not forge or break lines. */
export function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ');
}
