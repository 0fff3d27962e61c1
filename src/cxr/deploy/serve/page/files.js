// Files that are dropped or chosen, those of folders too, in the order of their names.

export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return named([...transfer.files]);
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
  return found;
}

export function named(files) {
  return files
    .map((file) => ({file, name: file.webkitRelativePath || file.name}))
    .sort((a, b) => a.name.localeCompare(b.name, "en", {numeric: true}));
}

async function walk(entry, folder, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject)).catch(() => null);
    if (file) found.push({file, name: folder + file.name});
    return;
  }
  const reader = entry.createReader();
  const children = [];
  for (;;) { // a reader gives at most 100 entries a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => []);
    if (!some.length) break;
    children.push(...some);
  }
  children.sort((a, b) => a.name.localeCompare(b.name, "en", {numeric: true}));
  for (const child of children) await walk(child, `${folder}${entry.name}/`, found);
}
