// The admin API, as the server's /admin/api/openapi.json describes it.

import { Refusal, request } from '../shared/refusals'

export interface Histogram {
  /** Seconds; `counts` has one more, for what took longer. */
  bounds: number[]
  counts: number[]
  sum: number
}

export type Total = number | Record<string, number>

export interface Stats {
  node: string
  version: string
  started: string
  uptime: number
  draining: boolean
  ready: boolean
  reasons: string[]
  connections: number
  sessions: Record<string, number>
  users: number
  rooms: number
  totals: Record<string, Total>
  latency: { queued: Histogram, written: Histogram, stored: Histogram }
  queues: { messages: number, bytes: number, slow: number }
  store: { kind: string, ready: boolean, trouble: string | null, unstored_bytes: number, unstored_age: number }
  process: { pid: number, rss: number | null, cpu_seconds: number, greenlets: number, loop_lag: number }
}

export interface Room {
  id: string
  sessions: number
  users: number
  updates: number
  bytes: number
  unstored: number
  queued: number
  opened: string
}

export interface Session {
  id: string
  dialect: string
  address: string
  since: string
  queued: number
  updates: number
}

export interface User {
  id: string
  name: string
  rights: string
  sessions: Session[]
}

/** Milliseconds until a server that does not answer is given up for now. */
const PATIENCE = 10_000

// Relative to the page, so that an application may be mounted anywhere.
const ask = async <T>(method: string, path: string, body?: object): Promise<T> => {
  const response = await request(`api/${path}`, {
    method,
    headers: body ? { 'Content-Type': 'application/json' } : {},
    body: body ? JSON.stringify(body) : null,
    signal: AbortSignal.timeout(PATIENCE)
  })
  if (response.status === 204) return undefined as T
  return await response.json().catch(() => {
    throw new Refusal(response.status, 'unknown', 'What answers here is not the server')
  })
}

export const signIn = (shown: { token: string } | { ticket: string }): Promise<{ until: string }> => ask('POST', 'session', shown)
export const signOut = (): Promise<void> => ask('DELETE', 'session')
export const stats = (): Promise<Stats> => ask('GET', 'stats')
export const rooms = (prefix: string, after: string): Promise<{ rooms: Room[], next: string | null }> =>
  ask('GET', `rooms?${new URLSearchParams({ limit: '1000', ...(prefix && { prefix }), ...(after && { after }) })}`)
export const users = (room: string): Promise<{ users: User[] }> => ask('GET', `users?${new URLSearchParams({ room })}`)
export const kick = (room: string, user: string | null, seconds: number, reason: string): Promise<{ sessions: number }> =>
  ask('POST', 'kick', { room, ...(user !== null && { user }), seconds, ...(reason && { reason }) })
export const recheck = (room: string, user: string | null): Promise<{ sessions: number }> =>
  ask('POST', 'recheck', { room, ...(user !== null && { user }) })
export const say = (room: string, text: string): Promise<{ told: number, untold: number }> => ask('POST', 'say', { room, text })
export const drain = (): Promise<{ connections: number }> => ask('POST', 'drain', {})
