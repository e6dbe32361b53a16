// People's colours: those to choose from, and what of a stranger's word for one can be used.

import { randomIndex } from './words'

/** White is readable on each. */
export const COLORS: readonly (readonly [name: string, color: string])[] = [
  ['Red', '#c92a2a'], ['Pink', '#c2255c'], ['Purple', '#8931b8'], ['Violet', '#6741d9'], ['Blue', '#1864ab'],
  ['Teal', '#0b7285'], ['Green', '#237032'], ['Olive', '#5c6b00'], ['Brown', '#8a5200'], ['Slate', '#495057']
]

const isColor = (color: unknown): color is string => typeof color === 'string' && /^#[0-9a-f]{6}$/i.test(color)

export const randomColor = (): string => COLORS[randomIndex(COLORS.length)]?.[1] ?? '#495057'

/** `color`, if it is one, else one that goes with `seed`. */
export const colorOr = (color: unknown, seed: number): string =>
  isColor(color) ? color : COLORS[seed % COLORS.length]?.[1] ?? '#495057'

/** What can be read on `color`: black or white. */
export const inkOn = (color: string): string => {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map(at => linear(parseInt(color.slice(at, at + 2), 16) / 255))
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? '#000000' : '#ffffff'
}

const linear = (value: number): number => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4

/** Colour an element as somebody's: its stylesheet uses `--user` and `--on-user`. */
export const colored = <T extends HTMLElement>(element: T, color: string): T => {
  element.style.setProperty('--user', color)
  element.style.setProperty('--on-user', inkOn(color))
  return element
}
