// Whether the work is stored, and whether there is a connection: one line, for everybody at all times.
//
// Bound here: it is read out only when something has changed for long enough to matter, and "stored" not after every word.

import { byId } from '../shared/elements'
import { announce } from './announcer'

export type State = 'connecting' | 'saving' | 'stored' | 'live' | 'offline' | 'late' | 'stopped'

export const WORDS: Readonly<Record<State, string>> = {
  connecting: 'Connecting…',
  saving: 'Saving…',
  stored: 'Stored',
  live: 'Up to date',
  offline: 'Offline: kept on this device',
  late: 'The store is away: kept on this device',
  stopped: 'Not connected'
}

const UNKEPT: Partial<Record<State, string>> = { offline: 'Offline: not kept anywhere yet', late: 'The store is away: not kept anywhere yet' }

const SETTLES = 1500
const QUIET = new Set<State>(['connecting', 'saving'])

/** Milliseconds that this device may take to keep something before that is said. */
const PATIENCE = 400

let told: State = 'connecting'
let telling: ReturnType<typeof setTimeout> | undefined
let waiting: ReturnType<typeof setTimeout> | undefined

/** Show a state; `kept`: whether this device keeps the work. */
export const showStatus = (state: State, kept: boolean): void => {
  const element = byId('status')
  clearTimeout(waiting)
  if (!kept && UNKEPT[state] !== undefined) {
    waiting = setTimeout(() => say(state, UNKEPT[state] ?? ''), PATIENCE)
    if (element.dataset['state'] === state) {
      element.dataset['kept'] = 'false'
      return
    }
  }
  element.dataset['kept'] = String(kept)
  const words = WORDS[state]
  say(state, kept || UNKEPT[state] === undefined ? words : words.replace(/:.*/, ''))
}

const say = (state: State, words: string): void => {
  if (byId('status-text').textContent === words) return
  byId('status').dataset['state'] = state
  byId('status-text').textContent = words
  clearTimeout(telling)
  if (QUIET.has(state)) return
  telling = setTimeout(() => {
    if (state !== told) announce(words)
    told = state
  }, SETTLES)
}
