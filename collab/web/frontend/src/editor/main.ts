// The page at /: one document, and everybody who is in it.

import './style.css'
import * as Y from 'yjs'
import { byId } from '../shared/elements'
import { Refusal } from '../shared/refusals'
import { documentHere, takeToken, tokenHere } from './address'
import { Api, type Facts } from './api'
import { Device } from './device'
import { remembered } from './identity'
import { Page } from './page'
import { documents, keepRecent, share } from './sharing'
import { askToken, signInAnew } from './signing'
import { showNotice } from './notice'
import { showStatus } from './status'
import { aboutYou } from './self'

/** Milliseconds until a server that does not answer is asked again. */
const AGAIN = 3000

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
      ['Open another one', () => byId('open-documents').click()],
      ...(tokenHere() === null ? [] : [['Sign in anew', signInAnew] as const])
    ]
  })
}

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
  keepRecent(id)
  const doc = new Y.Doc()
  const device = await Device.open(id, doc, () => page?.show())
  page = new Page({ id, doc, api, you, facts, device })
  page.open()
}

void start()
