// Files to save: tables as CSV, heat maps as SVG and PNG, made in the browser from what is shown.
function keep(name, content) {
  const address = URL.createObjectURL(content);
  h("a", { href: address, download: name.replace(/[^\w.@-]+/g, "_") }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// A quote before a text that looks like a formula: a spreadsheet must not run the name of an encoder.
function csv(lines) {
  const cell = (value) => {
    if (typeof value === "number") return String(value);
    const text = /^[=+\-@\t\r]/.test(value ?? "") ? `'${value}` : String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return new Blob([lines.map((line) => line.map(cell).join(",") + "\r\n").join("")], { type: "text/csv" });
}

const xml = (text) => text.replace(/[<>&"\p{Cc}]/gu, (c) => `&#${c.codePointAt(0)};`);

// A table of coloured cells as a picture, in the colours that it has on the page.
function pictureOf(table, title) {
  const frame = table.getBoundingClientRect();
  const [width, height] = [Math.ceil(frame.width) + 16, Math.ceil(frame.height) + 44];
  const page = getComputedStyle(document.body);
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (css) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = css;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return a ? `rgb(${r},${g},${b})` : "none";
  };
  const parts = [...table.querySelectorAll("caption, th, td")].map((cell) => {
    const [box, style] = [cell.getBoundingClientRect(), getComputedStyle(cell)];
    const [x, y] = [box.left - frame.left + 8, box.top - frame.top + 36];
    return `<rect x="${x}" y="${y}" width="${box.width}" height="${box.height}" fill="${colour(style.backgroundColor)}"/>`
      + `<text x="${x + box.width / 2}" y="${y + box.height / 2}" font-size="${parseFloat(style.fontSize)}" fill="${colour(style.color)}">${xml(cell.textContent)}</text>`;
  });
  const text = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" text-anchor="middle" dominant-baseline="central">`
    + `<rect width="100%" height="100%" fill="${colour(page.backgroundColor)}"/><text x="8" y="16" font-size="14" text-anchor="start" fill="${colour(page.color)}">${xml(title)}</text>${parts.join("")}</svg>`;
  return { text, width, height };
}

function keepPicture(table, title, form) {
  const { text, width, height } = pictureOf(table, title);
  if (form === "svg") return keep(`${title}.svg`, new Blob([text], { type: "image/svg+xml" }));
  const image = new Image();
  image.onload = () => {
    const canvas = h("canvas", { width: 2 * width, height: 2 * height });
    canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
    canvas.toBlob((content) => keep(`${title}.png`, content), "image/png");
  };
  image.src = "data:image/svg+xml," + encodeURIComponent(text);
}

const saveButton = (form, save) => h("button", { type: "button", onclick: save }, form.toUpperCase());

// Under a heat map: its numbers, and its picture.
function saves(title, table) {
  const numbers = () => keep(`${title}.csv`, csv([...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.replace("−", "-").replace(/^([+-]?)\./, "$10.").replace(/^[+](?=\d)/, "")).map((text) => (/^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text)))));
  return h("p", { class: "saves" }, "save ", saveButton("csv", numbers), ["svg", "png"].map((form) => saveButton(form, () => keepPicture(table, title, form))));
}
