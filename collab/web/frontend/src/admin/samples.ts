// What happened between two answers of the server, which tells totals: rates, and quantiles of what took how long.

import type { Histogram, Stats, Total } from './client'

/** One point of the charts; null where it cannot be told. Times in milliseconds, unless said otherwise. */
export interface Sample {
  /** When, in seconds since 1970, as this device's clock has it. */
  at: number
  yjs: number | null
  native: number | null
  hocuspocus: number | null
  /** A second. */
  updates: number | null
  messages: number | null
  bytesIn: number | null
  bytesOut: number | null
  commits: number | null
  queuedHalf: number | null
  queuedMost: number | null
  writtenMost: number | null
  storedHalf: number | null
  storedMost: number | null
  unstored: number | null
  lag: number | null
  /** Percent of one core. */
  cpu: number | null
}

/** The sum of a counter over its labels. */
export const sum = (total: Total | undefined): number =>
  typeof total === 'number' ? total : Object.values(total ?? {}).reduce((all, one) => all + one, 0)

/** A gap: the server did not answer, or is another one now. */
export const gap = (at: number): Sample => ({
  at, yjs: null, native: null, hocuspocus: null, updates: null, messages: null, bytesIn: null, bytesOut: null, commits: null,
  queuedHalf: null, queuedMost: null, writtenMost: null, storedHalf: null, storedMost: null, unstored: null, lag: null, cpu: null
})

/** Whether `after` is of the same process as `before`, and later. */
export const follows = (before: Stats | null, after: Stats): before is Stats =>
  before !== null && before.started === after.started && before.node === after.node && after.uptime > before.uptime

export const sample = (at: number, before: Stats | null, after: Stats): Sample => {
  const { sessions, store, process } = after
  const now = {
    ...gap(at),
    yjs: sessions.yjs ?? 0,
    native: sessions.native ?? 0,
    hocuspocus: sessions.hocuspocus ?? 0,
    unstored: store.unstored_bytes,
    lag: process.loop_lag * 1000
  }
  if (!follows(before, after)) return now
  const seconds = after.uptime - before.uptime
  const gained = (name: string): number => Math.max(0, sum(after.totals[name]) - sum(before.totals[name]))
  const queued = difference(before.latency.queued, after.latency.queued)
  const stored = difference(before.latency.stored, after.latency.stored)
  return {
    ...now,
    updates: gained('updates') / seconds,
    messages: gained('received_messages') / seconds,
    bytesIn: gained('received_bytes') / seconds,
    bytesOut: gained('sent_bytes') / seconds,
    commits: gained('store_commits') / seconds,
    queuedHalf: milliseconds(quantile(queued, 0.5)),
    queuedMost: milliseconds(quantile(queued, 0.99)),
    writtenMost: milliseconds(quantile(difference(before.latency.written, after.latency.written), 0.99)),
    storedHalf: milliseconds(quantile(stored, 0.5)),
    storedMost: milliseconds(quantile(stored, 0.99)),
    cpu: Math.max(0, process.cpu_seconds - before.process.cpu_seconds) / seconds * 100
  }
}

const milliseconds = (seconds: number | null): number | null => seconds === null ? null : seconds * 1000

const difference = (before: Histogram, after: Histogram): Histogram => ({
  bounds: after.bounds,
  counts: after.counts.map((count, index) => Math.max(0, count - (before.counts[index] ?? 0))),
  sum: after.sum - before.sum
})

/** The time that so large a part took at most, in seconds: within a bucket it is taken to grow evenly; null if nothing was measured. */
export const quantile = ({ bounds, counts }: Histogram, part: number): number | null => {
  const all = counts.reduce((total, count) => total + count, 0)
  if (all === 0) return null
  let left = part * all
  for (const [index, count] of counts.entries()) {
    if (count > 0 && left <= count) {
      const low = bounds[index - 1] ?? 0
      const high = bounds[index] ?? low // longer than the last bound: that is all that is known
      return low + (high - low) * (left / count)
    }
    left -= count
  }
  return bounds.at(-1) ?? null
}
