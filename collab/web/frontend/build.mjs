// node build.mjs FOLDER: make the pages. Each folder of src/ that has an index.html is one, with a main.ts beside it.
//
// FOLDER gets <page>.html, in which the server fills in {{assets}} (where they are served) and {{nonce}}; assets/, whose
// names have their content's hash in them; manifest.json, which says what is called how; and the licences of what is inside.

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join, parse } from 'node:path'
import { build } from 'esbuild'

const out = process.argv[2]
const folders = await readdir('src')
const pages = folders.filter(name => existsSync(`src/${name}/index.html`)).sort()
const shared = (await readdir('src/shared/plain')).map(name => join('src/shared/plain', name))

const { metafile, outputFiles } = await build({
  entryPoints: Object.fromEntries([
    ...pages.map(page => [page, `src/${page}/main.ts`]),
    ...shared.filter(file => file.endsWith('.ts')).map(file => [parse(file).name, file])
  ]),
  outdir: 'assets',
  bundle: true,
  splitting: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  charset: 'utf8',
  entryNames: '[name]-[hash]',
  chunkNames: 'chunk-[hash]',
  metafile: true,
  write: false,
  logLevel: 'warning'
})

const assets = new Map(outputFiles.map(({ path, contents }) => [basename(path), contents]))
const manifest = {}
for (const [path, { entryPoint, cssBundle }] of Object.entries(metafile.outputs)) {
  if (!entryPoint) continue
  const name = basename(path).replace(/-[A-Z0-9]{8}\.js$/, '')
  manifest[`${name}.js`] = basename(path)
  if (cssBundle) manifest[`${name}.css`] = basename(cssBundle)
}
for (const file of shared.filter(file => !file.endsWith('.ts'))) {
  const { base, name, ext } = parse(file)
  const contents = await readFile(file)
  const hash = createHash('sha256').update(contents).digest('hex').slice(0, 8).toUpperCase()
  manifest[base] = `${name}-${hash}${ext}`
  assets.set(manifest[base], contents)
}

/** The licence texts of all packages of which something is in the bundles. */
const licences = async () => {
  const inside = new Set(Object.keys(metafile.inputs).flatMap(file => file.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1] ?? []))
  const texts = []
  for (const name of [...inside].sort()) {
    const files = (await readdir(`node_modules/${name}`)).filter(file => /^licen[cs]e/i.test(file))
    const { version, license } = JSON.parse(await readFile(`node_modules/${name}/package.json`, 'utf8'))
    const text = await Promise.all(files.map(file => readFile(`node_modules/${name}/${file}`, 'utf8')))
    texts.push(`${name} ${version} (${license})\n\n${text.join('\n').trim()}\n`)
  }
  return texts.join('\n---\n\n')
}

/** A page's HTML with the names of what it needs. */
const fill = async page => {
  const html = await readFile(`src/${page}/index.html`, 'utf8')
  return html.replace(/\{\{([\w.-]+\.\w+)\}\}/g, (_, name) => {
    if (!manifest[name]) throw new Error(`src/${page}/index.html names ${name}, which is not built: ${Object.keys(manifest)}`)
    return `{{assets}}/${manifest[name]}`
  })
}

const htmls = await Promise.all(pages.map(fill))
await rm(out, { recursive: true, force: true })
await mkdir(join(out, 'assets'), { recursive: true })
await Promise.all([
  ...[...assets].map(([name, contents]) => writeFile(join(out, 'assets', name), contents)),
  ...pages.map((page, index) => writeFile(join(out, `${page}.html`), htmls[index])),
  writeFile(join(out, 'manifest.json'), JSON.stringify(manifest, null, 2)),
  writeFile(join(out, 'licences.txt'), await licences())
])
