// What a close code or an error of the server means to whoever writes here, and what they can do.

export interface Trouble {
  title: string
  text: string
  /** Whether trying again by hand may help. */
  again: boolean
}

/** The server answers, but not to WebSockets. */
export const DEAF: Trouble = {
  title: 'This page cannot connect',
  text: 'The server answers, but lets no WebSocket through: there are too many connections, or a proxy in front of it does not pass them on. It goes on trying.',
  again: true
}

const said = (reason: string): string => reason ? ` The server says: “${reason}”.` : ''

/** What to say when the connection has ended; null where it comes back by itself and the status says enough. */
export const onClose = (code: number, reason: string): Trouble | null => {
  switch (code) {
    case 4401: return { title: 'Sign in again', text: `Your token is not valid any more.${said(reason)}`, again: false }
    case 4403: return {
      title: 'You were sent out of this document',
      text: `You may not be in it now.${said(reason)} Ask whoever runs this server, or whoever shared it with you. Your copy below cannot be changed, but you can still copy from it.`,
      again: true
    }
    case 4510: return {
      title: 'This document is in quarantine',
      text: 'The server cannot read what it has stored of it, and keeps that as it is. Tell whoever runs it; this page tries again by itself.',
      again: true
    }
    case 1013: return {
      title: 'The document cannot be opened now', text: `This page tries again by itself in a moment.${said(reason)}`, again: true
    }
    case 1008: case 1009: return {
      title: 'The server has ended the connection',
      text: `This page has sent more than it takes.${said(reason)} What you have written is kept on this device.`,
      again: true
    }
    case 1002: case 1003: case 1007: return {
      title: 'The server has ended the connection', text: `It did not understand this page, which is a fault of one of them.${said(reason)}`, again: true
    }
    default: return null
  }
}

/** What to say when a change was not taken; null where there is nothing that the user could do. */
export const onError = (code: string, message: string): Trouble | null => {
  switch (code) {
    case 'read_only': return {
      title: 'You may only read now',
      text: 'Your last changes were not taken, and the others do not see them. Copy them if you need them, and load the page again.',
      again: true
    }
    case 'document_full': return {
      title: 'The document is full', text: 'It takes nothing but deletions until it is smaller. What you wrote last is on this device only.', again: false
    }
    case 'not_storable': case 'rate_limited': return null
    default: return { title: 'A change was not taken', text: `${message}.`, again: true }
  }
}
