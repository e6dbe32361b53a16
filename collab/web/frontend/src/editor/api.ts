// The document API: who somebody is in a document, what they may do in it, and its versions.

import { request } from '../shared/refusals'

export type Rights = 'read' | 'write' | 'admin'

export interface Facts {
  id: string
  user: { id: string, name: string }
  rights: Rights
}

export interface Version {
  version: number
  name: string | null
  saved: string
  bytes: number
}

/** The API of one document, asked as whoever `credentials` says. */
export class Api {
  constructor (
    private readonly id: string,
    private readonly credentials: () => { token: string | null, query: Record<string, string> }
  ) {}

  async document (): Promise<Facts> {
    return await (await this.ask('GET', '/api/document', { id: this.id })).json()
  }

  async versions (): Promise<Version[]> {
    return (await (await this.ask('GET', '/api/versions', this.query)).json()).versions
  }

  async text (version: number): Promise<string> {
    return await (await this.ask('GET', `/api/versions/${version}`, { ...this.query, format: 'text' })).text()
  }

  async save (name: string): Promise<Version> {
    return await (await this.ask('POST', '/api/versions', this.query, name ? { name } : {})).json()
  }

  async restore (version: number): Promise<void> {
    await this.ask('POST', `/api/versions/${version}/restore`, this.query)
  }

  private get query (): Record<string, string> {
    return { document: this.id }
  }

  private async ask (method: string, path: string, query: Record<string, string>, body?: object): Promise<Response> {
    const { token, query: who } = this.credentials()
    const headers = new Headers()
    if (token !== null) headers.set('Authorization', `Bearer ${token}`)
    if (body) headers.set('Content-Type', 'application/json')
    return await request(`${path}?${new URLSearchParams({ ...query, ...who })}`, {
      method, headers, body: body ? JSON.stringify(body) : null
    })
  }
}
