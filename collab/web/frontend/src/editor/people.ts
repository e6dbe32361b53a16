// Who is here: a row of initials, and a list. Two tabs of one user are one person.

import type { Awareness } from 'y-protocols/awareness'
import { opens } from '../shared/dialogs'
import { byId, make } from '../shared/elements'
import { colored, colorOr } from './colors'

export interface Person {
  id: string
  name: string
  color: string
}

const LONGEST_NAME = 60
const FACES = 4

type State = Record<string, any>

/** Whom a client's presence is of; whatever it says is only taken as far as it can be shown. */
export const personOf = (client: number, state: State): Person => {
  const user: State = typeof state['user'] === 'object' && state['user'] !== null ? state['user'] : {}
  const name = typeof user['name'] === 'string' ? user['name'].trim().slice(0, LONGEST_NAME) : ''
  const id = typeof user['id'] === 'string' ? user['id'] : `client ${client}`
  return { id, name: name || 'Somebody', color: colorOr(user['color'], client) }
}

/** Everybody who is here, this user first. */
export const peopleIn = (awareness: Awareness): Person[] => {
  const people = new Map<string, Person>()
  const states = [...awareness.getStates()].sort(([a], [b]) => Number(b === awareness.clientID) - Number(a === awareness.clientID) || a - b)
  for (const [client, state] of states) {
    if (!('user' in state) && client !== awareness.clientID) continue
    const person = personOf(client, state)
    if (!people.has(person.id)) people.set(person.id, person)
  }
  return [...people.values()]
}

/** Keep the page's list of people; `announce` says who has come and gone. */
export const listPeople = (awareness: Awareness, announce: (text: string) => void): void => {
  let before: Person[] | null = null
  let shown = ''
  const list = (): void => {
    const people = peopleIn(awareness)
    const now = JSON.stringify(people)
    if (now === shown) return
    shown = now
    byId('avatars').replaceChildren(...faces(people))
    byId('open-people').dataset['more'] = people.length > 2 ? `+${people.length - 2}` : ''
    byId('people-count').textContent = people.length < 2 ? 'Who is here: you alone' : `Who is here: ${people.length} people`
    byId('people-list').replaceChildren(...people.map((person, index) => line(person, index === 0)))
    if (before !== null) tellChanges(before, people, announce)
    before = people
  }
  opens(byId<HTMLButtonElement>('open-people'), byId<HTMLDialogElement>('people'))
  awareness.on('change', list)
  list()
}

const faces = (people: Person[]): HTMLElement[] => {
  const row = people.slice(0, FACES).map(face)
  if (people.length > FACES) row.push(make('span', 'face more', `+${people.length - FACES}`))
  return row
}

const face = ({ name, color }: Person): HTMLElement => colored(make('span', 'face', initials(name)), color)

const line = (person: Person, you: boolean): HTMLElement => {
  const row = make('li', 'person', face(person), make('span', '', person.name))
  row.firstElementChild?.setAttribute('aria-hidden', 'true')
  if (you) row.append(make('span', 'soft', 'you'))
  return row
}

const initials = (name: string): string => {
  const words = name.split(/\s+/).filter(Boolean)
  const ends = words.length > 1 ? [words[0], words.at(-1)] : words
  return ends.map(word => [...word ?? ''][0]?.toUpperCase() ?? '').join('')
}

const tellChanges = (before: Person[], after: Person[], announce: (text: string) => void): void => {
  const gone = before.filter(({ id }) => !after.some(person => person.id === id))
  const come = after.filter(({ id }) => !before.some(person => person.id === id))
  if (come.length) announce(`${names(come)} came`)
  if (gone.length) announce(`${names(gone)} left`)
}

const names = (people: Person[]): string => new Intl.ListFormat('en').format(people.map(({ name }) => name))
