// Light or dark: as the system has it, or as was chosen on this device. plain/theme.ts applies it before a page is shown.

export type Theme = 'auto' | 'light' | 'dark'

const KEY = 'collab.theme'

export const chosenTheme = (): Theme => {
  const chosen = localStorage.getItem(KEY)
  return chosen === 'light' || chosen === 'dark' ? chosen : 'auto'
}

export const chooseTheme = (theme: Theme): void => {
  if (theme === 'auto') {
    localStorage.removeItem(KEY)
    delete document.documentElement.dataset.theme
  } else {
    localStorage.setItem(KEY, theme)
    document.documentElement.dataset.theme = theme
  }
}

/** Let a group of radio buttons named `theme` choose. */
export const themeChoice = (inputs: Iterable<HTMLInputElement>): void => {
  for (const input of inputs) {
    input.checked = input.value === chosenTheme()
    input.addEventListener('change', () => chooseTheme(input.value as Theme))
  }
}
