// One open document: its text, its connection, what the server says, and what of it the page shows.

import * as Y from 'yjs'
import { byId } from '../shared/elements'
import { toast } from '../shared/toasts'
import { Refusal } from '../shared/refusals'
import { tokenHere } from './address'
import { announce } from './announcer'
import type { Api, Facts, Rights } from './api'
import type { Device } from './device'
import type { You } from './identity'
import { Link } from './link'
import { hideNotice, showNotice } from './notice'
import { listPeople } from './people'
import { Receipts } from './receipts'
import { askToken, offerSignOut } from './signing'
import { showStatus, type State } from './status'
import { TextEditor } from './text'
import { DEAF, onClose, onError, type Trouble } from './troubles'
import { Versions } from './versions'

export interface Opened {
  id: string
  doc: Y.Doc
  api: Api
  you: You
  facts: Facts
  device: Device
}

/** Milliseconds between looks at why there is no connection. */
const ASK_AGAIN = 10000

/** Refusals that are over by themselves, of which the status says enough. */
const PASSING = new Set(['unreachable', 'stopping', 'draining'])

export class Page {
  private readonly link: Link
  private readonly receipts: Receipts
  private readonly editor: TextEditor
  private readonly versions: Versions
  private readonly undoManager: Y.UndoManager
  private connection: 'connecting' | 'up' | 'down' | 'stopped' = 'connecting'
  private askedAt = 0
  private unheard = 0
  private rights: Rights

  constructor (private readonly opened: Opened) {
    const { id, doc, api, facts } = opened
    const text = doc.getText('text')
    this.rights = facts.rights
    this.link = new Link(id, doc)
    this.receipts = new Receipts(this.link.provider, () => this.show())
    this.undoManager = new Y.UndoManager(text)
    this.editor = new TextEditor(byId('text'), text, this.link.provider.awareness, this.undoManager, this.mayWrite)
    this.versions = new Versions(api, () => text.toString())
  }

  private get mayWrite (): boolean {
    return this.rights !== 'read'
  }

  private credentials (): Record<string, string> {
    const token = tokenHere()
    const { you } = this.opened
    return token === null ? { user_id: you.id, user_name: you.name } : { token }
  }

  /** Connect, and show everything from then on. */
  open (): void {
    const { link } = this
    this.introduce()
    this.showRights()
    this.undoButtons()
    offerSignOut(() => this.forget())
    listPeople(link.provider.awareness, announce)
    link.on('up', () => this.up())
    link.on('down', (code, reason, stays) => this.down(code, reason, stays))
    link.on('refused', () => { void this.refused() })
    link.on('error', (code, message) => { void this.troubled(code, message) })
    link.on('said', text => toast(text, 'From whoever runs this server'))
    addEventListener('online', () => {
      if (this.connection !== 'stopped') link.connect()
    })
    addEventListener('pagehide', () => link.provider.awareness.setLocalState(null))
    addEventListener('pageshow', event => {
      if (event.persisted) this.introduce()
    })
    addEventListener('beforeunload', event => {
      if (this.mayWrite && this.receipts.kept !== 'stored' && !this.opened.device.keeps) event.preventDefault()
    })
    document.querySelector('.skip')?.addEventListener('click', event => {
      event.preventDefault()
      this.editor.focus()
    })
    link.connect()
    this.editor.focus()
  }

  /** Before somebody else comes to this device: what only it has is kept all the same. */
  private async forget (): Promise<void> {
    if (this.receipts.kept === 'stored' || !this.mayWrite) await this.opened.device.forget()
  }

  /** Tell the others who this is. */
  introduce (): void {
    const { id, name, color } = this.opened.you
    const { awareness } = this.link.provider
    this.link.credentials = this.credentials()
    if (awareness.getLocalState() === null) awareness.setLocalState({})
    awareness.setLocalStateField('user', { id, name, color, colorLight: `${color}33` })
  }

  private up (): void {
    const again = this.connection === 'down'
    this.connection = 'up'
    this.unheard = 0
    hideNotice()
    this.show()
    // Rights may have changed meanwhile.
    if (again) void this.ask()
  }

  private down (code: number, reason: string, stays: boolean): void {
    this.connection = stays ? 'stopped' : 'down'
    this.show()
    const trouble = onClose(code, reason)
    if (code === 4401) void this.signIn(trouble?.text ?? reason)
    else if (trouble !== null) this.tell(trouble)
    if (stays) this.editor.mayWrite = false
  }

  /** The server did not let the connection in, or is not there: it says which over HTTP. */
  private async refused (): Promise<void> {
    if (this.connection !== 'stopped') this.connection = 'down'
    this.show()
    if (Date.now() - this.askedAt < ASK_AGAIN) return
    this.askedAt = Date.now()
    if (await this.ask() && ++this.unheard > 1) this.tell(DEAF)
  }

  /** Ask what this user may do here by now; whether they may be here. */
  private async ask (): Promise<boolean> {
    try {
      const { user, rights } = await this.opened.api.document()
      this.rights = rights
      this.showRights()
      if (tokenHere() !== null && user.id !== this.opened.you.id) {
        this.opened.you.id = user.id
        this.introduce()
      }
      return true
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.status === 401) {
        await this.signIn(error.message)
      } else if (error.status === 403) {
        this.down(4403, error.message, true)
        this.link.disconnect()
      } else if (!PASSING.has(error.code)) {
        this.tell({ title: 'The server does not let you in now', text: `${error.message}.`, again: true })
      }
      return false
    }
  }

  private async signIn (why: string): Promise<void> {
    this.link.disconnect()
    this.connection = 'stopped'
    this.show()
    await askToken(`${why} What you have written stays on this page.`)
    this.introduce()
    this.connection = 'connecting'
    await this.ask()
    if (this.connection === 'connecting') this.link.connect()
  }

  /** A change was not taken. */
  private async troubled (code: string, message: string): Promise<void> {
    if (code === 'not_storable') this.receipts.refused()
    if (code === 'read_only') await this.ask()
    const trouble = onError(code, message)
    if (trouble !== null) this.tell(trouble)
  }

  private tell ({ title, text, again }: Trouble): void {
    const retry: readonly [string, () => void] = ['Try again', () => location.reload()]
    showNotice({ title, text, actions: again ? [retry] : [['Understood', hideNotice]] })
  }

  /** Show how things are. */
  show (): void {
    showStatus(this.state, this.opened.device.keeps)
  }

  private get state (): State {
    if (this.connection === 'stopped') return 'stopped'
    if (this.connection === 'down') return 'offline'
    if (this.connection === 'connecting') return 'connecting'
    if (!this.mayWrite) return 'live'
    const { kept } = this.receipts
    return kept === 'unknown' ? 'connecting' : kept
  }

  private showRights (): void {
    byId('badge').hidden = this.mayWrite
    this.versions.mayWrite = this.mayWrite
    this.editor.mayWrite = this.mayWrite
    for (const name of ['undo', 'redo']) byId(name).hidden = !this.mayWrite
    this.show()
  }

  private undoButtons (): void {
    const buttons = [['undo', 'undoStack'], ['redo', 'redoStack']] as const
    const refresh = (): void => {
      for (const [name, stack] of buttons) byId<HTMLButtonElement>(name).disabled = this.undoManager[stack].length === 0
    }
    for (const event of ['stack-item-added', 'stack-item-popped', 'stack-cleared'] as const) this.undoManager.on(event, refresh)
    for (const [name] of buttons) {
      byId(name).addEventListener('click', () => {
        this.editor[name]()
        this.editor.focus()
      })
    }
  }
}
