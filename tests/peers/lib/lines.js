// One JSON object a line: commands on stdin, replies and events on stdout.
// A command is {id, cmd, ...arguments}; its reply is {reply: id, ...result} or {reply: id, error}.
// Commands run side by side, so that a long wait does not hold up the next command.
const readline = require('readline')

function emit (event, fields = {}) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

function reply (id, fields) {
  process.stdout.write(JSON.stringify({ reply: id, ...fields }) + '\n')
}

// `commands` maps a name to an async function (arguments) => result; `close` runs before the process ends.
function serve (commands, close) {
  let ending = null
  const end = () => {
    if (ending === null) ending = Promise.resolve(close()).then(() => process.exit(0), fail)
    return ending
  }

  const run = async ({ id, cmd, ...args }) => {
    try {
      if (!Object.hasOwn(commands, cmd)) throw new Error(`unknown command ${cmd}`)
      reply(id, await commands[cmd](args))
    } catch (err) {
      reply(id, { error: err.stack || String(err) })
    }
  }

  const lines = readline.createInterface({ input: process.stdin })
  lines.on('line', (line) => {
    const message = JSON.parse(line)
    if (message.cmd === 'stop') end()
    else run(message)
  })
  lines.on('close', end)
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
}

function fail (err) {
  process.stderr.write((err.stack || String(err)) + '\n')
  process.exit(1)
}

// --name value pairs of the command line; a repeated name collects a list.
function options (argv = process.argv.slice(2)) {
  const found = {}
  for (let i = 0; i < argv.length; i += 2) {
    const name = argv[i].replace(/^--/, '')
    found[name] = [...(found[name] || []), argv[i + 1]]
  }
  return found
}

module.exports = { emit, serve, fail, options }
