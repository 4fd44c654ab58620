/** How an instance is named where those of all schedulers stand together: ids are unique within their scheduler's place only. */
export function instanceKey({ scheduler, id }: { scheduler: string; id: string }): string {
  return `${scheduler}/${id}`;
}
