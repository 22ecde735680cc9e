"use strict";
// A text for those who have none at hand.

const EXAMPLE = `The lighthouse on the northern rock was built in the year of the great storm. Three ships had gone down within sight of the village, and nobody on the shore could do anything but watch. The fishermen collected money for two winters until there was enough for stone, mortar and a lamp. A mason from the city drew the plans, and every family sent one man to carry the blocks.

The tower rose slowly, because work was possible only at low tide. Each evening the sea took back a part of what had been done in the morning. In the second summer the mason changed his plan and laid the blocks in a ring, every one cut so that it held its neighbours. From then on the waves pressed the wall together and did not pull it apart.

When the lamp was lit for the first time, its light could be seen from twelve miles away. The first keeper was a widow who had lost her husband in the storm. She climbed the stairs every evening, trimmed the wick and wrote the weather into a book. Those books are still kept in the town hall, and students of the climate read them today.

Later the oil lamp gave way to gas, and the gas to electricity. The last keeper left the rock when a small computer took over his work. The light still turns, although every ship now knows its position from satellites. On the day of the storm the village walks out to the rock at low tide and counts the steps of the stairs aloud.`;
