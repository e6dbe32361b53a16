// Requests to the server, and what it does not do, in its words.

/** `status` is 0 where the server did not answer at all. */
export class Refusal extends Error {
  constructor (readonly status: number, readonly code: string, message: string) {
    super(message)
  }
}

/** As `fetch`, for an answer that is good; throws a `Refusal` otherwise. */
export const request = async (url: string, options: RequestInit): Promise<Response> => {
  let response: Response
  try {
    response = await fetch(url, options)
  } catch {
    throw new Refusal(0, 'unreachable', 'The server does not answer')
  }
  if (response.ok) return response
  // A proxy in between has words of its own.
  const answer = await response.json().catch(() => null)
  const { code = 'unknown', message = `The server answers ${response.status}` } = answer?.error ?? {}
  throw new Refusal(response.status, code, message)
}
