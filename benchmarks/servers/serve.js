// The official servers over one corestore. Prints one line of JSON, runs until standard input ends.
//   make STORAGE MIB [HOST:PORT...]   make a drive with /file.bin of MIB MiB; with bootstrap nodes, serve it on the swarm
//   serve-drive STORAGE KEY           blob-server STORAGE KEY
const crypto = require('crypto')
const Corestore = require('corestore')
const Hyperdrive = require('hyperdrive')

const [what, storage, last, ...bootstrap] = process.argv.slice(2)
const print = (fields) => console.log(JSON.stringify(fields))

async function make (store) {
  const drive = new Hyperdrive(store)
  await drive.ready()
  const stream = drive.createWriteStream('/file.bin')
  const done = new Promise((resolve, reject) => stream.on('close', resolve).on('error', reject))
  for (let at = 0; at < Number(last); at++) {
    if (!stream.write(crypto.randomBytes(1 << 20))) await new Promise(resolve => stream.once('drain', resolve))
  }
  stream.end()
  await done
  if (bootstrap.length) {
    const Hyperswarm = require('hyperswarm')
    const swarm = new Hyperswarm({ bootstrap: bootstrap.map(text => ({ host: text.split(':')[0], port: Number(text.split(':')[1]) })) })
    swarm.on('connection', connection => store.replicate(connection))
    await swarm.join(drive.discoveryKey, { server: true, client: false }).flushed()
  }
  print({ key: drive.key.toString('hex') })
}

async function serveDrive (store) {
  const ServeDrive = require('serve-drive')
  const drive = new Hyperdrive(store, Buffer.from(last, 'hex'))
  await drive.ready()
  const serve = new ServeDrive({ host: '127.0.0.1', get: () => drive })
  await serve.ready()
  print({ url: serve.getLink('/file.bin') })
}

async function blobServer (store) {
  const BlobServer = require('hypercore-blob-server')
  const server = new BlobServer(store)
  await server.listen()
  print({ url: server.getLink(Buffer.from(last, 'hex'), { filename: '/file.bin' }) })
}

async function main () {
  const store = new Corestore(storage)
  await store.ready()
  await { make, 'serve-drive': serveDrive, 'blob-server': blobServer }[what](store)
  process.stdin.on('end', async () => { await store.close(); process.exit() }).resume()
}

main().catch(error => { console.error(error); process.exit(1) })
