// Node's basic-ftp: HOST PORT USER PASSWORD WAY; steps on standard input, as verb TAB from TAB to.
"use strict";
const fs = require("fs");
const { Client, enterPassiveModeIPv4 } = require("basic-ftp");

async function main() {
    const [host, port, user, password, way] = process.argv.slice(2);
    const client = new Client(20000);
    client.ftp.log = (line) => console.error(line);
    await client.access({ host, port: Number(port), user, password });
    // Else it asks for EPSV first.
    if (way === "Passive") client.prepareTransfer = enterPassiveModeIPv4;

    const does = {
        Put: (from, to) => client.uploadFrom(from, to),
        Get: (from, to) => client.downloadTo(to, from),
        async ContinuePut(from, to) {
            await client.appendFrom(from, to, { localStart: await client.size(to) });
        },
        ContinueGet: (from, to) => client.downloadTo(to, from, fs.statSync(to).size),
        async List(from) {
            for (const file of await client.list(from)) console.log(`${file.size} ${file.name}`);
        },
        async Names(from) {
            for (const file of await client.list(from)) console.log(file.name);
        },
        MakeDirectory: (from) => client.send(`MKD ${from}`),
        RemoveDirectory: (from) => client.removeEmptyDir(from),
        Delete: (from) => client.remove(from),
        Rename: (from, to) => client.rename(from, to),
    };
    for (const step of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
        const [verb, from, to] = step.split("\t");
        await does[verb](from, to);
    }
    client.close();
}

main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
