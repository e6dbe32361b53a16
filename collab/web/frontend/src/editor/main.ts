// The page at /: one document, and everybody who is in it.

import './style.css'
import { IndexeddbPersistence } from 'y-indexeddb'
import * as Y from 'yjs'
import { byId } from '../shared/elements'
import { documentHere, takeToken, tokenHere } from './address'
import { Api, type Facts, Refusal } from './api'
import { remembered } from './identity'
import { Page } from './page'
import { documents, keepRecent, share } from './sharing'
import { askToken, offerSignOut } from './signing'
import { showNotice } from './notice'
import { showStatus } from './status'
import { aboutYou } from './self'

/** Milliseconds until a server that does not answer is asked again. */
const AGAIN = 3000

/** Milliseconds that this device may take to open what it has kept. */
const DEVICE_TIMEOUT = 3000

takeToken()
const id = documentHere()
const you = remembered()
const api = new Api(id, () => {
  const token = tokenHere()
  const query: Record<string, string> = token === null ? { user_id: you.id, user_name: you.name } : {}
  return { token, query }
})

const later = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))

/** Ask until the server says who this is here; null where it says that they may not be. */
const admitted = async (): Promise<Facts | null> => {
  for (;;) {
    try {
      return await api.document()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.status === 401) {
        await askToken(tokenHere() === null ? 'This server wants to know who you are: it lets in who shows a token.' : `${error.message}.`)
      } else if (error.status === 0 || error.status === 429 || error.status === 503) {
        showStatus('offline', false)
        await later(AGAIN * (1 + Math.random()))
      } else {
        showStatus('stopped', false)
        refuse(error)
        return null
      }
    }
  }
}

const refuse = ({ status, message }: Refusal): void => {
  const titles: Record<number, string> = { 403: 'You may not open this document', 404: 'This document cannot be opened', 423: 'This document is in quarantine' }
  showNotice({
    title: titles[status] ?? 'This document cannot be opened',
    text: `${message}.`.replace(/\.\.$/, '.'),
    actions: [
      ['Try again', () => location.reload()],
      ['Open another one', () => byId('open-documents').click()]
    ]
  })
}

/** What this device has kept of the document; null where the browser keeps nothing, as in a private window. */
const onThisDevice = async (doc: Y.Doc): Promise<IndexeddbPersistence | null> => {
  if (!(await canKeep())) return null
  const kept = new IndexeddbPersistence(`collab ${id}`, doc)
  await Promise.race([kept.whenSynced, later(DEVICE_TIMEOUT)])
  return kept.synced ? kept : null
}

const canKeep = (): Promise<boolean> => new Promise(resolve => {
  try {
    const request = indexedDB.open('collab')
    request.onerror = () => resolve(false)
    request.onsuccess = () => {
      request.result.close()
      resolve(true)
    }
  } catch {
    resolve(false)
  }
})

const start = async (): Promise<void> => {
  documents(id)
  share(id)
  let page: Page | undefined
  aboutYou(you, () => page?.introduce())
  const facts = await admitted()
  if (facts === null) return
  if (tokenHere() !== null) {
    you.id = facts.user.id
    if (!you.named) you.name = facts.user.name
  }
  offerSignOut()
  keepRecent(id)
  const doc = new Y.Doc()
  const kept = await onThisDevice(doc)
  page = new Page({ id, doc, api, you, facts, kept: kept !== null })
  page.open()
}

void start()
