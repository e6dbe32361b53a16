// The table of rooms: searched by how their ids begin, sorted by any column, in pages. While somebody points at it, or has
// the focus in it, the order stays as it is: nobody wants to kick the wrong room because another one got busy.

import { byId, make } from '../shared/elements'
import { type Seen, Walk } from './walk'
import { ago, bytes, count, counted, rate } from './words'

type Column = 'id' | 'sessions' | 'users' | 'activity' | 'updates' | 'bytes' | 'unstored' | 'queued' | 'opened'

const LABELS: Record<Column, string> = {
  id: 'Room', sessions: 'Sessions', users: 'Users', activity: 'Updates/s', updates: 'Updates', bytes: 'Size', unstored: 'Not stored', queued: 'Queued', opened: 'Open for'
}
/** Rooms on a page; fewer where each is a card. */
const PAGE = matchMedia('(max-width: 44rem)').matches ? 10 : 25
/** Milliseconds after the last key until a search begins. */
const TYPING = 250

const CELLS: Record<Column, (room: Seen) => string> = {
  id: room => room.id, sessions: room => count(room.sessions), users: room => count(room.users), activity: room => rate(room.activity),
  updates: room => count(room.updates), bytes: room => bytes(room.bytes), unstored: room => bytes(room.unstored),
  queued: room => bytes(room.queued), opened: room => ago(room.opened)
}
const COLUMNS = Object.keys(LABELS) as Column[]

export class Rooms {
  readonly walk = new Walk()
  private by: Column = 'activity'
  private down = true
  private page = 0
  private shown: string[] = []
  private readonly rows = new Map<string, HTMLTableRowElement>()
  private readonly body = byId<HTMLTableSectionElement>('rooms')

  /** `open` is called with the room that somebody wants to look into, `hurry` when the table wants other rooms. */
  constructor (private readonly open: (id: string) => void, hurry: () => void) {
    byId('rooms-head').append(...COLUMNS.map(column => this.head(column)))
    let timer: ReturnType<typeof setTimeout> | undefined
    byId<HTMLInputElement>('search').addEventListener('input', ({ target }) => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        this.walk.narrow((target as HTMLInputElement).value.trimStart())
        this.page = 0
        hurry()
      }, TYPING)
    })
    byId<HTMLSelectElement>('sort').append(...COLUMNS.map(column => new Option(`Sort by: ${LABELS[column].toLowerCase()}`, column)))
    this.mark()
    byId('sort').addEventListener('change', ({ target }) => this.sort((target as HTMLSelectElement).value as Column))
    byId('page-before').addEventListener('click', () => this.turn(-1))
    byId('page-next').addEventListener('click', () => this.turn(1))
  }

  private head (column: Column): HTMLElement {
    const button = make('button', 'sort', LABELS[column])
    button.type = 'button'
    button.addEventListener('click', () => this.sort(column))
    const head = make('th', column === 'id' ? '' : 'number', button)
    head.scope = 'col'
    head.dataset.column = column
    return head
  }

  private sort (column: Column): void {
    this.down = this.by === column ? !this.down : column !== 'id'
    this.by = column
    this.page = 0
    this.mark()
    this.draw(true)
  }

  private mark (): void {
    byId<HTMLSelectElement>('sort').value = this.by
    for (const head of byId('rooms-head').children) {
      const mine = (head as HTMLElement).dataset.column === this.by
      if (mine) head.setAttribute('aria-sort', this.down ? 'descending' : 'ascending')
      else head.removeAttribute('aria-sort')
    }
  }

  private turn (by: number): void {
    this.page += by
    this.draw(true)
    byId('rooms-title').scrollIntoView({ block: 'nearest' })
  }

  /** Show what the walk has found; `anew` in a new order, whoever points at it. */
  draw (anew = false): void {
    const rooms = this.walk.rooms
    const pages = Math.max(1, Math.ceil(rooms.length / PAGE))
    this.page = Math.min(Math.max(0, this.page), pages - 1)
    const held = !anew && this.shown.length > 0 && (this.body.matches(':hover') || this.body.contains(document.activeElement))
    if (held) this.shown = this.shown.filter(id => this.walk.get(id))
    else this.shown = rooms.sort((one, other) => this.compare(one, other)).slice(this.page * PAGE, (this.page + 1) * PAGE).map(({ id }) => id)
    this.fill()
    byId('rooms-empty').hidden = rooms.length > 0
    byId('rooms-empty').textContent = !this.walk.complete ? 'Looking …' : byId<HTMLInputElement>('search').value.trim()
      ? 'No room that is open begins so.'
      : 'Nobody has a document open.'
    byId('rooms-table').hidden = rooms.length === 0
    byId('rooms-pages').hidden = pages === 1
    byId('rooms-count').textContent = rooms.length === 0 ? '' : `${this.walk.complete ? '' : 'more than '}${counted(rooms.length, 'room')}`
    byId('page-number').textContent = `Page ${this.page + 1} of ${pages}`
    byId<HTMLButtonElement>('page-before').disabled = this.page === 0
    byId<HTMLButtonElement>('page-next').disabled = this.page === pages - 1
  }

  private compare (one: Seen, other: Seen): number {
    const a = one[this.by] ?? -1
    const b = other[this.by] ?? -1
    // The longest open is the one that was opened first.
    const order = (a < b ? -1 : a > b ? 1 : 0) * (this.by === 'opened' ? -1 : 1)
    return (this.down ? -order : order) || other.sessions - one.sessions || (one.id < other.id ? -1 : 1)
  }

  private fill (): void {
    for (const id of this.rows.keys()) if (!this.shown.includes(id)) this.rows.delete(id)
    const rows = this.shown.map(id => {
      const row = this.rows.get(id) ?? this.row(id)
      this.rows.set(id, row)
      const room = this.walk.get(id)!
      for (const [index, column] of COLUMNS.entries()) {
        if (column === 'id') continue
        const cell = row.cells[index]!
        const text = CELLS[column](room)
        if (cell.textContent !== text) cell.textContent = text
      }
      row.classList.toggle('late', room.unstored > 1e6 || room.queued > 1e6)
      return row
    })
    if (rows.length === this.body.rows.length && rows.every((row, index) => row === this.body.rows[index])) return
    const focused = document.activeElement
    this.body.replaceChildren(...rows)
    if (focused instanceof HTMLElement && this.body.contains(focused)) focused.focus({ preventScroll: true })
  }

  private row (id: string): HTMLTableRowElement {
    const button = make('button', 'link', id)
    button.type = 'button'
    button.setAttribute('aria-haspopup', 'dialog')
    button.addEventListener('click', () => this.open(id))
    const name = make('th', '', button)
    name.scope = 'row'
    return make('tr', '', name, ...COLUMNS.slice(1).map(column => {
      const cell = make('td', 'number')
      cell.dataset.label = LABELS[column]
      return cell
    }))
  }
}
