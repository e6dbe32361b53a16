// The version history: what the document was, what has changed since, and the way back.

import { opens } from '../shared/dialogs'
import { byId, make } from '../shared/elements'
import { toast } from '../shared/toasts'
import { Refusal } from '../shared/refusals'
import type { Api, Version } from './api'
import { changesBetween } from './changes'
import { confirmed } from './confirm'

const dialog = byId<HTMLDialogElement>('history')
const nameInput = byId<HTMLInputElement>('version-name')

export class Versions {
  private chosen: Version | null = null
  private then = ''

  constructor (private readonly api: Api, private readonly text: () => string) {
    opens(byId<HTMLButtonElement>('open-history'), dialog, () => { void this.attempt(() => this.open()) })
    byId('version-form').addEventListener('submit', event => {
      event.preventDefault()
      void this.attempt(() => this.save())
    })
    byId('restore').addEventListener('click', () => { void this.attempt(() => this.restore()) })
    for (const input of dialog.querySelectorAll<HTMLInputElement>('input[name=show]')) {
      input.addEventListener('change', () => this.show())
    }
  }

  set mayWrite (may: boolean) {
    byId('version-form').hidden = !may
    byId('restore').hidden = !may
  }

  private async open (): Promise<void> {
    this.choose(null)
    await this.list()
  }

  private async list (): Promise<void> {
    const versions = await this.api.versions()
    byId('history-empty').hidden = versions.length > 0
    byId('versions').replaceChildren(...versions.map(version => this.line(version)))
    this.mark()
  }

  private line (version: Version): HTMLElement {
    const button = make('button', 'version', make('strong', '', titleOf(version)), timeOf(version))
    button.type = 'button'
    button.dataset['version'] = String(version.version)
    button.addEventListener('click', () => { void this.attempt(() => this.look(version)) })
    return make('li', '', button)
  }

  private async look (version: Version): Promise<void> {
    this.then = await this.api.text(version.version)
    this.choose(version)
    this.show()
    byId('preview-title').focus()
  }

  private choose (version: Version | null): void {
    this.chosen = version
    byId('preview').hidden = version === null
    dialog.classList.toggle('looking', version !== null)
    if (version !== null) byId('preview-title').replaceChildren(titleOf(version), ' ', timeOf(version))
    this.mark()
  }

  private mark (): void {
    for (const button of byId('versions').querySelectorAll('button')) {
      button.setAttribute('aria-current', String(button.dataset['version'] === String(this.chosen?.version)))
    }
  }

  /** Show the chosen version, or what has changed since. */
  private show (): void {
    const asItWas = dialog.querySelector<HTMLInputElement>('input[name=show]:checked')?.value === 'text'
    const changes = asItWas ? null : changesBetween(this.then, this.text())
    byId('preview-text').replaceChildren(...changes?.nodes ?? [this.then])
    byId('preview-note').textContent = changes?.summary ??
      (asItWas ? (this.then ? 'The whole text, as it was.' : 'There was no text.') : 'It has changed too much to be compared: this is the text as it was.')
  }

  private async save (): Promise<void> {
    await this.api.save(nameInput.value.trim())
    nameInput.value = ''
    await this.list()
    toast('The version is saved.')
  }

  private async restore (): Promise<void> {
    const { chosen } = this
    if (chosen === null) return
    const yes = await confirmed(
      'Restore this version?',
      `Everybody's text becomes what it was: “${titleOf(chosen)}”. What it is now is saved as a version before, so that you can come back to it.`,
      'Restore'
    )
    if (!yes) return
    await this.api.restore(chosen.version)
    dialog.close()
    toast('The document is what it was again.')
  }

  /** Do something that may be refused, and say so where it can be seen. */
  private async attempt (act: () => Promise<void>): Promise<void> {
    const trouble = byId('history-trouble')
    trouble.hidden = true
    try {
      await act()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      trouble.textContent = error.status === 0 ? 'The server does not answer: the history is there again when you are online.' : error.message
      trouble.hidden = false
    }
  }
}

const titleOf = ({ name }: Version): string => name ?? 'Saved automatically'

const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })

const timeOf = ({ saved }: Version): HTMLTimeElement => {
  const time = make('time', 'soft', absolute.format(new Date(saved)))
  time.dateTime = saved
  return time
}
