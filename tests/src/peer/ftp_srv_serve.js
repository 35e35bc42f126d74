// ftp-srv over one directory: serve.js HOST PORT ROOT
const { FtpSrv } = require('ftp-srv')
const { createLogger } = require('bunyan')

const [host, port, root] = process.argv.slice(2)
const server = new FtpSrv({
  url: `ftp://${host.includes(':') ? `[${host}]` : host}:${port}`,
  pasv_url: host,
  // The default is 1024. ftp-srv takes the first free port.
  pasv_min: 20000,
  log: createLogger({ name: 'ftp-srv', streams: [] })
})
server.on('login', ({ username, password }, resolve, reject) => {
  if (username === 'user' && password === 'pass word') resolve({ root })
  else reject(new Error('not the user'))
})
server.listen()
