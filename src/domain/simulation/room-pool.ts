import type { RandomSource } from './random-source';

/** A set from which one is drawn by chance in constant time. */
export class RoomPool<Member> {
  private readonly members: Member[] = [];
  private readonly places = new Map<Member, number>();

  get size(): number {
    return this.members.length;
  }

  has(member: Member): boolean {
    return this.places.has(member);
  }

  add(member: Member): void {
    if (this.places.has(member)) return;
    this.places.set(member, this.members.length);
    this.members.push(member);
  }

  delete(member: Member): void {
    const place = this.places.get(member);
    if (place === undefined) return;
    this.places.delete(member);
    const last = this.members.pop()!;
    if (last === member) return;
    this.members[place] = last;
    this.places.set(last, place);
  }

  /** One of them, which stays; null when it is empty. */
  draw(random: RandomSource): Member | null {
    return this.members[Math.floor(random() * this.members.length)] ?? null;
  }
}
