// The names and colours of classes, which no framework keeps in its weights: known by their number.

import type { Archive } from '../archive';
import { invalid } from './layout';

/** PASCAL VOC 2012, in the order of its development kit. Its colours are those that a file has without a palette. */
const voc =
  'background,aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,' +
  'pottedplant,sheep,sofa,train,tvmonitor';

/** The classes of Cityscapes that are evaluated, by train id (cityscapesScripts, helpers/labels.py). */
const cityscapes =
  'road,sidewalk,building,wall,fence,pole,traffic light,traffic sign,vegetation,terrain,sky,person,rider,car,truck,bus,' +
  'train,motorcycle,bicycle';

const cityscapesPalette =
  '128,64,128;244,35,232;70,70,70;102,102,156;190,153,153;153,153,153;250,170,30;220,220,0;107,142,35;152,251,152;' +
  '70,130,180;220,20,60;255,0,0;0,0,142;0,0,70;0,60,100;0,80,100;0,0,230;119,11,32';

/** ADE20K's scene parsing benchmark, the first name of each class. */
const ade20k =
  'wall,building,sky,floor,tree,ceiling,road,bed,windowpane,grass,cabinet,sidewalk,person,earth,door,table,mountain,' +
  'plant,curtain,chair,car,water,painting,sofa,shelf,house,sea,mirror,rug,field,armchair,seat,fence,desk,rock,wardrobe,' +
  'lamp,bathtub,railing,cushion,base,box,column,signboard,chest of drawers,counter,sand,sink,skyscraper,fireplace,' +
  'refrigerator,grandstand,path,stairs,runway,case,pool table,pillow,screen door,stairway,river,bridge,bookcase,blind,' +
  'coffee table,toilet,flower,book,hill,bench,countertop,stove,palm,kitchen island,computer,swivel chair,boat,bar,' +
  'arcade machine,hovel,bus,towel,light,truck,tower,chandelier,awning,streetlight,booth,television,airplane,dirt track,' +
  'apparel,pole,land,bannister,escalator,ottoman,bottle,buffet,poster,stage,van,ship,fountain,conveyer belt,canopy,' +
  'washer,plaything,swimming pool,stool,barrel,basket,waterfall,tent,bag,minibike,cradle,oven,ball,food,step,tank,' +
  'trade name,microwave,pot,animal,bicycle,lake,dishwasher,screen,blanket,sculpture,hood,sconce,vase,traffic light,' +
  'tray,ashcan,fan,pier,crt screen,plate,monitor,bulletin board,shower,radiator,glass,clock,flag';

/** COCO-Stuff by its ids from 1 to 182, of which eleven never occur. */
const cocoStuff =
  'person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,street sign,stop sign,' +
  'parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,hat,backpack,umbrella,shoe,eye glasses,' +
  'handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,' +
  'tennis racket,bottle,plate,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,' +
  'hot dog,pizza,donut,cake,chair,couch,potted plant,bed,mirror,dining table,window,desk,toilet,door,tv,laptop,mouse,' +
  'remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,blender,book,clock,vase,scissors,teddy bear,' +
  'hair drier,toothbrush,hair brush,banner,blanket,branch,bridge,building-other,bush,cabinet,cage,cardboard,carpet,' +
  'ceiling-other,ceiling-tile,cloth,clothes,clouds,counter,cupboard,curtain,desk-stuff,dirt,door-stuff,fence,' +
  'floor-marble,floor-other,floor-stone,floor-tile,floor-wood,flower,fog,food-other,fruit,furniture-other,grass,gravel,' +
  'ground-other,hill,house,leaves,light,mat,metal,mirror-stuff,moss,mountain,mud,napkin,net,paper,pavement,pillow,' +
  'plant-other,plastic,platform,playingfield,railing,railroad,river,road,rock,roof,rug,salad,sand,sea,shelf,sky-other,' +
  'skyscraper,snow,solid-other,stairs,stone,straw,structural-other,table,tent,textile-other,towel,tree,vegetable,' +
  'wall-brick,wall-concrete,wall-other,wall-panel,wall-stone,wall-tile,wall-wood,water-other,waterdrops,window-blind,' +
  'window-other,wood';

/** A network that counts the unlabelled pixels as class 0, as TensorFlow's for ADE20K does, has one class more. */
const known: ReadonlyMap<number, string> = new Map([
  [21, voc],
  [19, cityscapes],
  [150, ade20k],
  [151, `unlabeled,${ade20k}`],
  [182, cocoStuff],
]);

/**
 * The keys `classes` and `palette` of a network with `count` classes: names where their number tells which they are,
 * else `class0`, `class1`, ...
 *
 * @throws ERR_INVALID_WEIGHTS if there are none, or more than a label map can hold.
 */
export function classKeys(archive: Archive, count: number): Record<string, string> {
  if (!(count >= 1 && count <= 256)) throw invalid(archive, `has ${count} classes: expected 1 to 256`);
  const classes = known.get(count) ?? Array.from({ length: count }, (_, id) => `class${id}`).join(',');
  return count === 19 ? { classes, palette: cityscapesPalette } : { classes };
}
