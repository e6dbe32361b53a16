// The user's own name, colour, and whether the page is light or dark.

import { opens } from '../shared/dialogs'
import { byId, make } from '../shared/elements'
import { themeChoice } from '../shared/themes'
import { colored, COLORS } from './colors'
import { remember, type You } from './identity'

/** Let the user say who they are to the others; `changed` passes it on. */
export const aboutYou = (you: You, changed: () => void): void => {
  const dialog = byId<HTMLDialogElement>('you')
  const name = byId<HTMLInputElement>('you-name')
  opens(byId<HTMLButtonElement>('open-you'), dialog, () => { name.value = you.name })
  themeChoice(dialog.querySelectorAll<HTMLInputElement>('input[name=theme]'))
  name.addEventListener('change', () => {
    you.name = name.value = name.value.replace(/\p{Cc}/gu, ' ').trim() || you.name
    you.named = true
    remember(you)
    changed()
  })
  name.addEventListener('keydown', event => {
    if (event.key !== 'Enter') return
    // Else the button that opened the dialog, which has the focus then, would be pressed by the same key.
    event.preventDefault()
    name.blur()
    dialog.close()
  })
  byId('you-colors').replaceChildren(...COLORS.map(([label, color]) => {
    const input = make('input')
    Object.assign(input, { type: 'radio', name: 'color', value: color, checked: color === you.color })
    input.setAttribute('aria-label', label)
    input.addEventListener('change', () => {
      you.color = color
      remember(you)
      changed()
    })
    return colored(make('label', 'color', input), color)
  }))
}
