// Who this is, to the others: a name and a colour, kept on this device, and an id by which two tabs are one person.

import { colorOr, randomColor } from './colors'
import { randomAnimal } from './words'

const KEY = 'collab.you'

export interface You {
  /** By which a server without authentication knows this device; with it, the id that it gives. */
  id: string
  name: string
  color: string
  /** Whether the name was chosen, and goes before what a token says. */
  named: boolean
}

/** Who this device was last time, or somebody new. */
export const remembered = (): You => {
  let kept: Partial<You> = {}
  try {
    kept = JSON.parse(localStorage.getItem(KEY) ?? '{}')
  } catch {
    localStorage.removeItem(KEY)
  }
  const you = {
    id: kept.id || newId(),
    name: kept.name || randomAnimal(),
    color: colorOr(kept.color ?? randomColor(), 0),
    named: kept.named ?? false
  }
  remember(you)
  return you
}

export const remember = (you: You): void => localStorage.setItem(KEY, JSON.stringify(you))

// `crypto.randomUUID` is only there on https and on this machine itself; the page may be on neither.
const newId = (): string => Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('')
