// Numbers, sizes and times in words, short enough for a table.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

/** A dash where something cannot be told. */
export const NONE = '–'

/** A count: all of it up to 99,999. */
export const count = (value: number | null): string =>
  value === null ? NONE : value < 100_000 ? whole.format(value) : short.format(value)

/** Something a second. */
export const rate = (value: number | null): string =>
  value === null ? NONE : value > 0 && value < 10 ? value.toFixed(1) : count(value)

export const bytes = (value: number | null): string => {
  if (value === null) return NONE
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`
}

export const bytesRate = (value: number | null): string => value === null ? NONE : `${bytes(value)}/s`

/** A time that something took. */
export const took = (milliseconds: number | null): string => {
  if (milliseconds === null) return NONE
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(1)} s`
  return milliseconds === 0 || milliseconds >= 10 ? `${milliseconds.toFixed(0)} ms` : `${milliseconds.toFixed(milliseconds < 1 ? 2 : 1)} ms`
}

export const percent = (value: number | null): string => value === null ? NONE : `${value > 0 && value < 10 ? value.toFixed(1) : value.toFixed(0)} %`

/** For how long, in the two largest units that matter. */
export const lasted = (seconds: number): string => {
  const steps: [number, string][] = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]
  const first = steps.findIndex(([size]) => seconds >= size)
  if (first < 0) return '0 s'
  const [size, unit] = steps[first]!
  const next = steps[first + 1]
  const rest = next ? Math.floor((seconds % size) / next[0]) : 0
  return `${Math.floor(seconds / size)} ${unit}${next && rest ? ` ${rest} ${next[1]}` : ''}`
}

/** How long ago that was. */
export const ago = (time: string): string => lasted(Math.max(0, (Date.now() - Date.parse(time)) / 1000))

export const clock = (seconds: number): string => new Date(seconds * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })

export const counted = (value: number, one: string, many = `${one}s`): string => `${count(value)} ${value === 1 ? one : many}`

/** With one full stop at the end. */
export const sentence = (text: string): string => `${text.replace(/\.+$/, '')}.`
