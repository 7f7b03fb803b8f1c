// A DHT of a few nodes on one address.  --size N --host ADDRESS (127.0.0.1)
const createTestnet = require('hyperdht/testnet')
const { emit, serve, fail, options } = require('./lib/lines')

async function main () {
  const { size: [size] = ['4'], host: [host] = ['127.0.0.1'] } = options()
  const testnet = await createTestnet(Number(size), { host })
  serve({}, () => testnet.destroy())
  emit('ready', { bootstrap: testnet.bootstrap.map(({ host, port }) => `${host}:${port}`) })
}

main().catch(fail)
