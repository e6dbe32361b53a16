// The rooms, which come in pages of a thousand: one page with each round, so that the server is never asked for all at
// once. What a room does a second is told from two visits to it.

import { type Room, rooms as pageOfRooms } from './client'

export interface Seen extends Room {
  /** Updates a second; null when it was seen only once. */
  activity: number | null
}

interface Kept extends Seen {
  at: number
  walk: number
}

export class Walk {
  private readonly kept = new Map<string, Kept>()
  private prefix = ''
  private after = ''
  private number = 1
  /** Whether all rooms were seen at least once. */
  complete = false

  /** Only rooms whose ids begin so. */
  narrow (prefix: string): void {
    if (prefix === this.prefix) return
    this.prefix = prefix
    this.kept.clear()
    this.after = ''
    this.complete = false
  }

  /** Go one page further; from the last one back to the first. */
  async step (): Promise<void> {
    const { prefix } = this
    const { rooms, next } = await pageOfRooms(prefix, this.after)
    if (prefix !== this.prefix) return
    const at = performance.now()
    for (const room of rooms) this.kept.set(room.id, { ...room, at, walk: this.number, activity: this.activity(room, at) })
    this.after = next ?? ''
    if (next === null) {
      for (const [id, { walk }] of this.kept) if (walk !== this.number) this.kept.delete(id)
      this.number += 1
      this.complete = true
    }
  }

  private activity ({ id, updates, opened }: Room, at: number): number | null {
    const before = this.kept.get(id)
    return before && before.opened === opened && at > before.at ? Math.max(0, updates - before.updates) * 1000 / (at - before.at) : null
  }

  get rooms (): Seen[] {
    return [...this.kept.values()]
  }

  get (id: string): Seen | undefined {
    return this.kept.get(id)
  }
}
