// The table of rooms: searched by how their ids begin, ordered by any column, in pages; the server is asked for the page
// that is shown. While somebody points at it, or has the focus in it, the order stays as it is: nobody wants to kick the
// wrong room because another one got busy.

import { byId, make } from '../shared/elements'
import { pageQuery, type Room, rooms as askRooms } from './client'
import { ago, bytes, count, counted, NONE, rate } from './words'

type Column = 'id' | 'sessions' | 'users' | 'activity' | 'updates' | 'bytes' | 'unstored' | 'queued' | 'opened'

const LABELS: Record<Column, string> = {
  id: 'Room', sessions: 'Sessions', users: 'Users', activity: 'Updates/s', updates: 'Updates', bytes: 'Size', unstored: 'Not stored', queued: 'Queued', opened: 'Open for'
}
/** Rooms on a page; fewer where each is a card. */
const PAGE = matchMedia('(max-width: 44rem)').matches ? 10 : 25
/** Milliseconds after the last key until a search begins. */
const TYPING = 250

const CELLS: Record<Column, (room: Room) => string> = {
  id: room => room.id, sessions: room => count(room.sessions), users: room => count(room.users), activity: room => rate(room.activity),
  updates: room => count(room.updates), bytes: room => bytes(room.bytes), unstored: room => bytes(room.unstored),
  queued: room => bytes(room.queued), opened: room => ago(room.opened)
}
const COLUMNS = Object.keys(LABELS) as Column[]

export class Rooms {
  private by: Column = 'activity'
  private down = true
  private page = 0
  private prefix = ''
  /** The latest answer. */
  private found = new Map<string, Room>()
  /** Whether somebody has asked for something else than what is shown: it is shown whoever points at the table. */
  private anew = true
  private shown: string[] = []
  private readonly rows = new Map<string, HTMLTableRowElement>()
  private readonly body = byId<HTMLTableSectionElement>('rooms')

  /** `open` is called with the room that somebody wants to look into, `hurry` when the table wants other rooms. */
  constructor (private readonly open: (id: string, room: Room | undefined) => void, private readonly hurry: () => void) {
    byId('rooms-head').append(...COLUMNS.map(column => this.head(column)))
    let timer: ReturnType<typeof setTimeout> | undefined
    byId<HTMLInputElement>('search').addEventListener('input', ({ target }) => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        const prefix = (target as HTMLInputElement).value.trimStart()
        if (prefix === this.prefix) return
        this.prefix = prefix
        this.want(0)
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
    this.mark()
    this.want(0)
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
    this.want(this.page + by)
    byId('rooms-title').scrollIntoView({ block: 'nearest' })
  }

  private want (page: number): void {
    this.page = page
    this.anew = true
    this.hurry()
  }

  private query (): string {
    // The longest open is the one that was opened first.
    const largest = this.by === 'opened' ? !this.down : this.down
    return pageQuery({ prefix: this.prefix, order: `${largest ? '-' : ''}${this.by}`, offset: this.page * PAGE, limit: PAGE })
  }

  /** Ask for the page that is wanted, and show it. */
  async step (): Promise<void> {
    const query = this.query()
    const { rooms, matching } = await askRooms(query)
    if (query !== this.query()) return
    const last = Math.max(0, Math.ceil(matching / PAGE) - 1)
    if (this.page > last) {
      this.want(last)
      return
    }
    this.found = new Map(rooms.map(room => [room.id, room]))
    this.draw(matching, last)
  }

  private draw (matching: number, last: number): void {
    const held = !this.anew && this.shown.length > 0 && (this.body.matches(':hover') || this.body.contains(document.activeElement))
    if (!held) this.shown = [...this.found.keys()]
    this.anew = false
    this.fill()
    byId('rooms-empty').hidden = matching > 0
    byId('rooms-empty').textContent = this.prefix ? 'No room that is open begins so.' : 'Nobody has a document open.'
    byId('rooms-table').hidden = matching === 0
    byId('rooms-pages').hidden = last === 0
    byId('rooms-count').textContent = matching === 0 ? '' : counted(matching, 'room')
    byId('page-number').textContent = `Page ${this.page + 1} of ${last + 1}`
    byId<HTMLButtonElement>('page-before').disabled = this.page === 0
    byId<HTMLButtonElement>('page-next').disabled = this.page === last
  }

  private fill (): void {
    for (const id of this.rows.keys()) if (!this.shown.includes(id)) this.rows.delete(id)
    const rows = this.shown.map(id => {
      const row = this.rows.get(id) ?? this.row(id)
      this.rows.set(id, row)
      // While the order is held, those that are on another page by now are not told of.
      const room = this.found.get(id)
      for (const [index, column] of COLUMNS.entries()) {
        if (column === 'id') continue
        const cell = row.cells[index]!
        const text = room ? CELLS[column](room) : NONE
        if (cell.textContent !== text) cell.textContent = text
      }
      row.classList.toggle('late', room !== undefined && (room.unstored > 1e6 || room.queued > 1e6))
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
    button.addEventListener('click', () => this.open(id, this.found.get(id)))
    const name = make('th', '', button)
    name.scope = 'row'
    return make('tr', '', name, ...COLUMNS.slice(1).map(column => {
      const cell = make('td', 'number')
      cell.dataset.label = LABELS[column]
      return cell
    }))
  }
}
