// A room, looked into: who is in it, over which sessions, and what can be done about them.

import { closable, show } from '../shared/dialogs'
import { byId, make } from '../shared/elements'
import { Refusal } from '../shared/refusals'
import { type Session, type User, users as usersOf } from './client'
import { askKick, askRecheck, askSay } from './steering'
import type { Walk } from './walk'
import { ago, bytes, count, counted, rate } from './words'

/** Users that are shown. */
const MOST = 200

const DIALECTS: Record<string, string> = { yjs: 'y-websocket', native: 'native', hocuspocus: 'Hocuspocus' }

export class RoomView {
  private readonly dialog = byId<HTMLDialogElement>('room')
  private readonly list = byId('users')
  private readonly entries = new Map<string, HTMLElement>()
  private id = ''
  private found: User[] = []

  /** `hurry` is called when something is wanted of the server at once. */
  constructor (private readonly walk: Walk, private readonly hurry: () => void) {
    closable(this.dialog)
    byId('room-say').addEventListener('click', () => askSay(this.id, hurry))
    byId('room-recheck').addEventListener('click', () => void askRecheck(this.id, null, hurry))
    byId('room-kick').addEventListener('click', () => askKick(this.id, null, hurry))
    byId('users-search').addEventListener('input', () => this.fill())
  }

  /** Look into a room. */
  open (id: string): void {
    this.id = id
    this.found = []
    this.entries.clear()
    this.list.replaceChildren()
    byId<HTMLInputElement>('users-search').value = ''
    byId('room-title').textContent = id
    byId('room-trouble').textContent = 'Looking …'
    byId('room-trouble').hidden = false
    this.facts()
    show(this.dialog)
    this.hurry()
  }

  /** Ask who is there, if the room is looked into. */
  async step (): Promise<void> {
    if (!this.dialog.open) return
    const { id } = this
    let trouble = ''
    if (!this.walk.get(id)) {
      this.gone()
      return
    }
    try {
      const { users } = await usersOf(id)
      if (id !== this.id) return
      this.found = users
      if (users.length === 0) trouble = 'Nobody is in it any more; it is put away in a moment.'
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'not_open') throw error
      this.gone()
      return
    }
    this.update(trouble)
  }

  private gone (): void {
    this.found = []
    this.update('Nobody has this document open any more.')
  }

  private update (trouble: string): void {
    byId('room-trouble').textContent = trouble
    byId('room-trouble').hidden = trouble === ''
    for (const name of ['room-say', 'room-recheck']) byId<HTMLButtonElement>(name).disabled = this.found.length === 0
    this.facts()
    this.fill()
  }

  private facts (): void {
    const room = this.walk.get(this.id)
    byId('room-facts').replaceChildren(...(room
      ? [['Sessions', count(room.sessions)], ['Updates/s', rate(room.activity)], ['Size', bytes(room.bytes)], ['Not stored', bytes(room.unstored)], ['Queued', bytes(room.queued)], ['Open for', ago(room.opened)]]
      : []).map(([label, value]) => make('div', '', make('dt', '', label!), make('dd', 'number', value!))))
  }

  private fill (): void {
    const wanted = byId<HTMLInputElement>('users-search').value.trim().toLowerCase()
    const users = this.found.filter(({ id, name }) => !wanted || `${id}\n${name}`.toLowerCase().includes(wanted))
    const kept = new Set(users.slice(0, MOST).map(({ id }) => id))
    for (const id of this.entries.keys()) if (!kept.has(id)) this.entries.delete(id)
    const entries = users.slice(0, MOST).map(user => {
      const entry = this.entries.get(user.id) ?? this.entry(user)
      this.entries.set(user.id, entry)
      this.tell(entry, user)
      return entry
    })
    byId('users-title').textContent = counted(this.found.length, 'user')
    byId('users-search-row').hidden = this.found.length < 8
    byId('users-more').hidden = users.length <= MOST
    byId('users-more').textContent = `and ${count(users.length - MOST)} more: search by name`
    if (entries.length === this.list.children.length && entries.every((entry, index) => entry === this.list.children[index])) return
    const focused = document.activeElement
    this.list.replaceChildren(...entries)
    if (focused instanceof HTMLElement && this.list.contains(focused)) focused.focus({ preventScroll: true })
  }

  private entry (user: User): HTMLElement {
    const action = (label: string, act: () => void): HTMLElement => {
      const button = make('button', 'small', label)
      button.type = 'button'
      button.setAttribute('aria-label', `${label.replace(' …', '')} ${user.name}`)
      button.addEventListener('click', act)
      return button
    }
    return make('li', 'user',
      make('div', 'who', make('strong', '', user.name), make('code', '', user.id), make('span', 'right')),
      make('ul', 'sessions'),
      make('div', 'actions', action('Recheck', () => void askRecheck(this.id, user, this.hurry)), action('Kick …', () => askKick(this.id, user, this.hurry)))
    )
  }

  private tell (entry: HTMLElement, { rights, sessions }: User): void {
    entry.querySelector('.right')!.textContent = { read: 'may read', write: 'may write', admin: 'admin' }[rights] ?? rights
    const list = entry.querySelector('.sessions')!
    while (list.children.length > sessions.length) list.lastElementChild!.remove()
    for (const [index, session] of sessions.entries()) {
      const item = list.children[index] ?? list.appendChild(make('li'))
      const text = words(session)
      if (item.textContent !== text) item.textContent = text
    }
  }
}

const words = ({ dialect, address, since, queued, updates }: Session): string => [
  DIALECTS[dialect] ?? dialect, ...(address ? [address] : []), `for ${ago(since)}`, counted(updates, 'update'), ...(queued ? [`${bytes(queued)} queued`] : [])
].join(' · ')
